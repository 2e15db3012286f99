"""Commands for models of text: generating text, and looking at attention."""

import pathlib
import sys

import click

from kzoo.cli.entry import command, import_keras, json_option, model_options, open_model, print_json
from kzoo.cli.picture_commands import OF_PICTURES, picture_options, refuse_without_file, write_pictures
from kzoo.cli.sound_commands import sound_options, write_sound

tokenizer_option = click.option(
    "--tokenizer", "tokenizer_path", metavar="PATH", help="A tokenizer's file or folder; the run's own by default."
)


def _tokenizer(model, source, path):
    """The tokenizer named, or the model's own; UsageError if there is neither."""
    from kzoo.data import Tokenizer

    tokenizer = Tokenizer.load(path) if path else model.kzoo.tokenizer
    if tokenizer is None:
        raise click.UsageError(f"{source} has no tokenizer; name one with --tokenizer")
    return tokenizer


def _read_prompts(prompts, file):
    """The texts of --prompt, or the lines of a file, `-` for standard input."""
    if bool(prompts) == bool(file):
        raise click.UsageError("pass either --prompt (which can be repeated) or --file")
    if prompts:
        return list(prompts)
    where = "standard input" if file == "-" else file
    if file != "-" and not pathlib.Path(file).is_file():
        raise click.UsageError(f"no file at {file}")
    content = sys.stdin.buffer.read() if file == "-" else pathlib.Path(file).read_bytes()
    from kzoo.data.tokenizing.tokenizer_files import split_lines

    try:
        lines = split_lines(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{where} is not UTF-8 text (byte {error.start})") from error
    if not lines:
        raise click.UsageError(f"{where} is empty; wanted one prompt per line")
    return lines


@command(
    "generate runs/gpt2 --prompt 'Once upon' --stream",
    "generate runs/wavenet_small out.wav --speaker 3 --seconds 2",
    "generate runs/latent_diffusion_small apple.png --prompt 'a red apple'",
)
@click.argument("source")
@click.argument("path", metavar="[OUT]", required=False)
@sound_options
@picture_options
@click.option("--prompt", "prompts", multiple=True, metavar="TEXT", help="A text to continue, translate or paint.")
@click.option("--file", metavar="FILE", help="A file with one prompt per line; - for standard input.")
@click.option("--max-new-tokens", type=int, default=64, help="The most tokens to generate.")
@click.option("--temperature", type=float, default=0.0, help="0 takes the likeliest; above it, tokens are drawn.")
@click.option("--top-k", type=int, help="Draw from this many of the likeliest tokens.")
@click.option("--top-p", type=float, help="Draw from the likeliest tokens that together reach this probability.")
@click.option("--repetition-penalty", type=float, default=1.0, help="Above 1, the text repeats itself less.")
@click.option("--beams", type=int, default=1, help="The width of beam search.")
@click.option("--length-penalty", type=float, default=1.0, help="Of beam search.")
@click.option("--num-return-sequences", type=int, metavar="N", help="The best N beams, or N drawn texts, of a prompt.")
@click.option("--stop", multiple=True, metavar="TEXT", help="What ends a text; the tokenizer's end by default.")
@click.option("--seed", type=int, default=0, help="The seed of drawn tokens.")
@click.option("--stream", is_flag=True, help="Show the text while it is generated.")
@click.option("--runtime", default="tensorflow", help="tensorflow, openvino or litert (extras).")
@click.option("--precision", default="float32", help="Or int8_weights, or bfloat16 (openvino).")
@tokenizer_option
@model_options
@json_option
def generate(
    source, path, speaker, seconds, prompts, file, beams, stop, stream, runtime, precision, tokenizer_path,
    overrides, weights, dtype, as_json, **settings,
):  # fmt: skip
    """Continue texts, translate them, or write sound or pictures into OUT.

    SOURCE is a run folder, a saved folder, a published folder or hf:// address, such as a pipeline of diffusers, or a
    catalogue name with --weights and --tokenizer. OUT is a .wav for sound, drawn at a temperature of 1 where none is
    given; a .png for a grid of pictures, or a folder for a file of each.
    """
    suffix = pathlib.Path(path or "").suffix.lower()
    of_sound = speaker is not None or seconds is not None
    if suffix == ".wav" or (of_sound and suffix not in ("", ".png")):
        return write_sound(path, (source, overrides, weights, dtype), {"speaker": speaker, "seconds": seconds})
    if path:
        return write_pictures(path, (source, overrides, weights, dtype))
    refuse_without_file({name: settings.pop(name) for name in OF_PICTURES & settings.keys() - {"seed"}})
    if of_sound:
        raise click.UsageError("--speaker and --seconds are of sound; name the file to write, OUT.wav")
    texts = _read_prompts(prompts, file)
    if stream and (as_json or len(texts) > 1):
        raise click.UsageError("--stream shows one text as it is generated; it takes one prompt and no --json")
    model = open_model(source, overrides, weights, dtype)
    tokenizer = _tokenizer(model, source, tokenizer_path)
    from kzoo.generation import generate as write
    from kzoo.generation.programs import programs_of

    continues = not programs_of(model).decoder.is_encoder_decoder
    if (runtime, precision) != ("tensorflow", "float32"):
        from kzoo.runtimes.writers import fast_writer

        model = fast_writer(model, precision, runtime)
    settings |= {"tokenizer": tokenizer, "num_beams": beams, "stop": list(stop) or None}
    if stream:
        click.echo(texts[0] if continues else "", nl=False)
        write(model, texts, stream=lambda piece: (click.echo(piece, nl=False), sys.stdout.flush()), **settings)
        return click.echo()
    written = write(model, texts, **settings)
    if settings["num_return_sequences"]:
        texts = [text for text, several in zip(texts, written, strict=True) for _ in several]
        written = [one for several in written for one in several]
    if as_json:
        keys = ("text", "ids", "stopped", "score")
        rows = [
            {"prompt": text, **{key: getattr(one, key) for key in keys}}
            for text, one in zip(texts, written, strict=True)
        ]
        return print_json(rows, ensure_ascii=False)
    for text, one in zip(texts, written, strict=True):
        click.echo((text if continues else "") + one.text)
    return None


@command("show-attention runs/bert_base map.png 'A cat sat.' 'It slept.'")
@click.argument("source")
@click.argument("path", metavar="OUTPUT.png")
@click.argument("text")
@click.argument("second", required=False)
@click.option("--layer", metavar="NAME", help="The attention layer; the last by default, one between texts if any.")
@tokenizer_option
@model_options
def show_attention(source, path, text, second, layer, tokenizer_path, overrides, weights, dtype):
    """Draw what each head of an attention layer attends to, as a PNG.

    SOURCE is a run folder, a saved folder, or a catalogue name with --weights and --tokenizer. TEXT and SECOND are a
    sentence pair: source and target for translation (the model's own translation by default).
    """
    import_keras()
    model = open_model(source, overrides, weights, dtype)
    tokenizer = _tokenizer(model, source, tokenizer_path)
    from kzoo.explaining import heatmaps

    click.echo(f"wrote {heatmaps.draw_texts(path, model, tokenizer, text, second, layer)}")
