"""Tables: containers, columns, and the encoding of rows as tensors."""
