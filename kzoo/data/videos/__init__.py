"""Moving pictures: frames of files, clips of them, and digits that move."""
