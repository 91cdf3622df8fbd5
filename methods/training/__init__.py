"""Training: a method is trained exactly as it is read.

The loops are sentence-transformers' (contrastive) and transformers' (masked next tokens), adapters
are PEFT's; what is here is what the papers' recipes need around them.
"""
