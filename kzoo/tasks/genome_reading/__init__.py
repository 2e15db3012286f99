"""What networks of letters say of places and variants of a genome, whatever they were trained for."""

from kzoo.tasks.genome_reading.regions import predict_regions
from kzoo.tasks.genome_reading.strands_together import both_strands
from kzoo.tasks.genome_reading.variants import predict_variants

__all__ = ["both_strands", "predict_regions", "predict_variants"]
