"""Fine-tune an encoder on a folder of documents, and measure on held-out ones whether it helped."""
