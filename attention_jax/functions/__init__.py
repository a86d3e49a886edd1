"""What a score or a normaliser is: declared, parametrised, registered, found and mapped."""
