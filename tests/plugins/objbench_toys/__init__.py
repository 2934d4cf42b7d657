"""Five methods of about thirty lines that stretch the method contract, each in another direction."""
