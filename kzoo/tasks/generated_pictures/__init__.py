"""What the tasks share whose models write pictures: their files, and how far they are from real ones."""
