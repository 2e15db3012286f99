"""DNA, RNA and proteins: letters as ids, genomes, regions and variants from files."""
