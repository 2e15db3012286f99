"""What networks of letters say of places and variants of a genome, whatever they were trained for."""
