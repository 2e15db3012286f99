"""Commands that use a model: evaluate, predict, export, and look at its data."""

import pathlib

import click

from kzoo.cli import entry, genome_options, label_options, protein_options, row_files, speech_options


@entry.command(
    "evaluate runs/mnist_cnn",
    "evaluate resnet50 --weights FILE --data photos/ --split train",
    "evaluate runs/dcgan_small --features runs/resnet20",
)
@click.argument("source")
@entry.model_options
@entry.data_options
@click.option("--split", default="test", help="train, validation or test; all for a table or folder without splits.")
@click.option("--batch-size", type=int, default=64)
@click.option(
    "--features", metavar="FOLDER", help="Of pictures that a model writes: the classifier to compare them by."
)
@click.option("--num-images", type=int, help="How many of them; as many as the split has by default.")
@speech_options.decoding
@genome_options.both_strands
@entry.json_option
def evaluate(source, overrides, weights, dtype, data_name, split, features, num_images, as_json, **options):
    """Evaluate a model on a split of a data set.

    SOURCE is a run folder, a saved or published folder, an hf:// address or a catalogue name. With --features, the
    Fréchet distance, precision and recall of generated pictures are measured in the features of a classifier of images.
    """
    strands = options.pop("both_strands")
    model = genome_options.of_strands(entry.open_model(source, overrides, weights, dtype), strands)
    from kzoo import tasks

    decoding = speech_options.taken(options)
    data = _of_split(split, data_name, source, model, **options)
    numbers = {"model": model.kzoo.name, "data": data.name, "split": split}
    numbers |= tasks.evaluate(model, data, split, decoding=decoding, features=features, num_images=num_images)
    return entry.print_json(numbers) if as_json else click.echo(entry.line_of(numbers))


def _of_split(split, name, source, model, **options):
    """The data of a command, nothing set aside where all of it is asked for."""
    whole = {"validation_fraction": 0} if split == "all" else {}
    return entry.load_data(name, source, model, **whole, **options)


@entry.command(
    "predict runs/reviews reviews.csv --columns text --output rows.csv",
    "predict runs/alphafold protein.fasta --msa protein.a3m out.cif",
    "predict runs/spliceai genome.fa --variants calls.vcf --genes genes.bed --output scored.vcf",
    cls=label_options.ManyLabels,
)
@click.argument("source")
@click.argument("files", nargs=-1)
@entry.model_options
@entry.data_options
@click.option("--split", default="test", help="The split of --data to read.")
@click.option("--limit", type=click.IntRange(1), default=5, help="The number of examples of --data.")
@click.option("--top", type=click.IntRange(1), default=3, help="The number of classes to name.")
@click.option("--draw", metavar="FILE.png", help="Draw the boxes that a detector finds into this file.")
@click.option("--output", metavar="FILE", help="Write all rows into a .csv or .jsonl file.")
@speech_options.decoding
@label_options.labels
@protein_options.folding
@genome_options.genome
@genome_options.both_strands
@entry.json_option
def predict(source, files, overrides, weights, dtype, data_name, split, limit, top, draw, output, as_json, **options):
    """Predict for files or for examples of a data set.

    SOURCE is a run folder, a saved or published folder, an hf:// address or a catalogue name; FILES are
    images or sounds (.wav, .flac, .ogg), folders or patterns of them, .npy arrays of examples, or tables (.csv, .tsv,
    .jsonl, .parquet, .conll) with a column of texts, words, paths or numbers. A model of text takes texts, or files
    with one text per line, instead. CLIP tells pictures apart by --labels. A model of DNA takes sequences, FASTA files,
    or a genome with --variants or --regions. A model of proteins takes FASTA files and, as the last of FILES, the .cif
    or .pdb to write; a .png and an .html page that turns the structure stand beside it.
    """
    genome = genome_options.taken(options)
    if output:
        genome_options.check_output(output, genome)
    files, folding = protein_options.taken(files, options)
    strands = options.pop("both_strands")
    model = genome_options.of_strands(entry.open_model(source, overrides, weights, dtype), strands)
    from kzoo import tasks

    task, data, decoding = tasks.of(model), None, speech_options.taken(options)
    task = task.decoded_by(**decoding) if decoding else task
    choice = label_options.taken(options)
    task = task.choosing_among(**choice) if choice else task
    task = task.folding_by(**folding, progress=protein_options.progress) if folding else task
    if genome:
        rows = genome_options.rows_of(model, files, genome, top, bool(options["skip_bad"]))
    elif files:
        rows = _rows_of(task, model, files, source, top, options)
    else:
        data = _of_split(split, data_name, source, model, batch_size=limit, **options)
        rows = task.rows_of_data(model, data, split, limit, top)
    if draw:
        task.draw(draw, model, rows, data, split)
        click.echo(f"wrote {draw}", err=True)
    if output:
        genome_options.write(output, rows, genome)
        click.echo(f"wrote {len(rows):,} rows to {output}", err=True)
    if as_json:
        return entry.print_json(rows)
    for row in () if output else rows:
        click.echo(genome_options.line(row, task) if genome else task.line(row))
    return None


def _rows_of(task, model, files, source, top, options):
    """Rows of results for what arguments stand for: tables, texts, images, sounds and arrays."""
    from kzoo.data import Tokenizer, columns
    from kzoo.data.sources import table_files
    from kzoo.tasks import base, reading
    from kzoo.training import open_run

    tokenizer = Tokenizer.load(options["tokenizer"]) if options["tokenizer"] else model.kzoo.tokenizer
    are_texts = task.takes_texts and base.takes_tokens(model)
    letters = columns.lettered(model)
    known = open_run(source).data_choices
    names, skip_bad = options["columns"] or known.get("columns"), bool(options["skip_bad"])
    rows = []
    wanted = [*columns.inputs_of(model).values()]
    suffixes = {suffix: None for column in wanted for suffix in column.suffixes}
    for one in files:
        if pathlib.Path(one).suffix.lower() in table_files.SUFFIXES and pathlib.Path(one).is_file():
            rows += task.rows_of_table(model, one, names, tokenizer, top, skip_bad)
        elif are_texts or (letters and not letters.is_file(one)):
            rows += task.rows_of_texts(model, reading.lines_of([one]), tokenizer, top)
        else:
            is_one = any(column.is_one(one) for column in wanted)
            paths = [one] if is_one else row_files.expanded([one], suffixes)
            rows += task.rows_of_files(model, paths, top, skip_bad)
    return rows


@entry.command("export runs/mnist_cnn exports/mnist_cnn", "export runs/gpt2 exports/gpt2 --format onnx --length 128")
@click.argument("source")
@click.argument("path")
@entry.model_options
@click.option("--format", "format_name", default="saved_model", help="saved_model, litert, onnx or openvino.")
@click.option("--precision", default="float32", help="float32, bfloat16, int8 or int8_weights.")
@click.option("--calibration", metavar="DATA", help="The data set from which int8 learns the ranges of activations.")
@click.option("--ranges", help="How int8 finds them: min_max, mean_min_max, percentile or mse.")
@click.option("--with-preprocessing", is_flag=True, help="Take uint8 images of the model's size and normalise them.")
@click.option("--data", "data_name", metavar="DATA", help="Compare the accuracy before and after on this data set.")
@click.option("--length", type=click.IntRange(1), help="Fix the length of sequences, as LiteRT requires.")
@entry.overwrite_option
@entry.json_option
def export(source, path, overrides, weights, dtype, format_name, calibration, data_name, overwrite, as_json, **how):
    """Export a model and prove that the export is equal to it.

    SOURCE is a run folder, a saved or published folder, an hf:// address or a catalogue name; PATH is the
    folder to create. A SavedModel also takes images of any size and generates text; the other formats cannot hold the
    loop for that.
    """
    from kzoo.support import atomic

    atomic.refuse_occupied(path, overwrite)
    model = entry.open_model(source, overrides, weights, dtype)
    from kzoo.exporting import export as write

    calibration = entry.load_data(calibration, source, model) if calibration else None
    data = entry.load_data(data_name, source, model) if data_name else None
    report = write(model, path, format_name, overwrite, calibration=calibration, data=data, **how)
    if as_json:
        return entry.print_json(report)
    for part, row in report.get("parts", {}).items():
        _tell({**row, "path": f"{report['path']}/{part}"}, data)
    return None if "parts" in report else _tell(report, data)


def _tell(report, data):
    """Prints where an export is and how far it is from its model."""
    click.echo(f"wrote {report['path']} ({report['bytes']:,} bytes, signatures {', '.join(report['signatures'])})")
    click.echo(
        f"reloaded and compared at batch sizes {report['batch_sizes']}: largest difference "
        f"{report['max_difference']:.2g} on outputs up to {report['scale']:.2g}"
        + (f"; int8 covers {100 * report['int8_coverage']:.0f} % of MACs" if report.get("int8_coverage") else "")
        + ("; accuracy {before:.4f} before, {after:.4f} after".format(**report["accuracy"]) if data else "")
    )


@entry.command(
    "show-data photos/ sheet.png --model resnet50 --augment-recipe photos",
    "show-data spoken_digits sheet.html --model ds_cnn --augment-recipe sounds",
)
@click.argument("name")
@click.argument("path", metavar="OUTPUT")
@click.option("--model", "model_name", metavar="MODEL", help="Fit the images to this model; else they keep their size.")
@entry.set_option
@click.option("--augment", is_flag=True, help="Use the default augmentation of kzoo train.")
@entry.augmentation_option
@click.option("--epochs", type=click.IntRange(1), default=2, help="The number of epochs to show.")
@click.option("--count", type=click.IntRange(1), default=8, help="The number of examples to show.")
@click.option("--seed", type=int, default=0, help="Of order and augmentation.")
@entry.place_options
def show_data(name, path, model_name, overrides, augment, augment_recipe, epochs, count, seed, skip_bad, **places):
    """Draw training images or sounds before and after augmentation, one row per example, as a PNG.

    NAME is a data set, a folder of class folders, or a table. Sounds need --model, and an OUTPUT that ends in .html
    becomes a page that plays them.
    """
    from kzoo import catalog

    if overrides and not model_name:
        raise click.UsageError("--set builds a model; name it with --model")
    if model_name:
        catalog.find(model_name)
    entry.import_keras()
    from kzoo import building
    from kzoo.data import load, sheet
    from kzoo.tasks.image_classification import canvas

    model = building.build(model_name, **entry.settings_of(overrides)) if model_name else canvas(name, **places)
    data = load(name, model, seed=seed, augment=augment_recipe or augment, skip_bad=bool(skip_bad), **places)
    entry.show_notes(data)
    sheet.draw(path, data, epochs, count)
    click.echo(f"wrote {path}")
