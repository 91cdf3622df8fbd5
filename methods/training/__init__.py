"""Train a method with the same inputs and pooling that it is evaluated with.

The loops are sentence-transformers' (contrastive) and transformers' (masked next tokens), adapters
are PEFT's; here is what the papers' recipes need beside them.
"""
