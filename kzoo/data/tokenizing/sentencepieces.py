"""SentencePiece models as `tokenizers.Tokenizer`s, so that all that follows knows one engine.

Kudo and Richardson 2018, https://arxiv.org/abs/1808.06226. The library `sentencepiece` reads the file.
"""

from typing import Any

UNIGRAM, BPE = 1, 2
UNKNOWN_PENALTY = 10  # how much less likely than the rarest piece an unknown character is
ELSEWHERE = "\ue000"  # a character for private use
UNKNOWN, CONTROL, USER_DEFINED, BYTE = 2, 3, 4, 6


def read(path, vocabulary=None) -> Any:
    """The tokenizer of a SentencePiece model (unigram or byte-pair encoding); ValueError for any other file.

    Args:
        vocabulary: `{piece: id}` that replaces the model's own ids, as Marian shares one between two models.
    """
    proto = _parse(path)
    engine = _engine(proto) if vocabulary is None else _renumbered(path, proto, vocabulary)
    # The library's JSON rounds the scores; rounded already, they come back from a file as they went in.
    for _ in range(3):
        engine = type(engine).from_str(engine.to_str())
    return engine


def _parse(path):
    try:
        from sentencepiece import sentencepiece_model_pb2
    except ImportError as error:
        raise ValueError(f"{path} is read by the library sentencepiece: pip install kzoo[text]") from error
    from google.protobuf.message import DecodeError

    proto = sentencepiece_model_pb2.ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ValueError(f"{path} is damaged or not a SentencePiece model") from error
    kind = proto.trainer_spec.model_type
    if not proto.pieces or kind not in (UNIGRAM, BPE):
        raise ValueError(f"{path} is not a SentencePiece model of kind unigram or BPE")
    return proto


def _renumbered(path, proto, vocabulary):
    """A unigram model under the ids of a vocabulary that also holds the pieces of another model.

    A mark before them keeps pieces of the other model from being found in a text; decoding removes it. Single
    characters of the other model stand for themselves where this one would give unknown; Marian makes one unknown of
    several unknown characters in a row, this tokenizer keeps those that the vocabulary has. A piece that the vocabulary
    lacks is left out: smaller pieces, or unknown, replace it.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models

    special = [piece for piece in ("</s>", "<unk>", "<pad>") if piece in vocabulary]
    if proto.trainer_spec.model_type != UNIGRAM or "<unk>" not in special:
        raise ValueError(f"{path} is not a unigram model, or the vocabulary beside it has no <unk>")
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise ValueError(f"the ids of vocab.json beside {path} are not 0..{len(vocabulary) - 1}")
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type not in (UNKNOWN, CONTROL)}
    last_resort = min(scores.values()) - UNKNOWN_PENALTY
    scores = {piece: last_resort for piece in vocabulary if piece in special or len(piece) == 1} | scores
    ordered = sorted(vocabulary, key=vocabulary.get)
    pieces = [(piece, scores[piece]) if piece in scores else (ELSEWHERE + piece, 0.0) for piece in ordered]
    own = _engine(proto)
    engine = Tokenizer(models.Unigram(pieces, vocabulary["<unk>"], False))
    if own.normalizer is not None:
        engine.normalizer = own.normalizer
    engine.pre_tokenizer = own.pre_tokenizer
    engine.decoder = decoders.Sequence([decoders.Replace(ELSEWHERE, ""), own.decoder])
    engine.add_special_tokens([AddedToken(piece, normalized=False) for piece in special])
    return engine


def _engine(proto):
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    kind = proto.trainer_spec.model_type
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    kinds = [piece.type for piece in proto.pieces]
    unknown, fallback = kinds.index(UNKNOWN), BYTE in kinds
    if kind == UNIGRAM:
        engine = Tokenizer(models.Unigram(pieces, unknown, fallback))
    else:
        vocabulary = {piece: index for index, (piece, _) in enumerate(pieces)}
        options = {"unk_token": pieces[unknown][0], "fuse_unk": True, "byte_fallback": fallback}
        engine = Tokenizer(models.BPE(vocabulary, _merges(vocabulary), **options))
    steps, specification = [], proto.normalizer_spec
    if specification.precompiled_charsmap:
        steps.append(normalizers.Precompiled(specification.precompiled_charsmap))
    if specification.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if steps:
        engine.normalizer = normalizers.Sequence(steps)
    scheme = "always" if specification.add_dummy_prefix else "never"
    engine.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=kind == UNIGRAM)
    engine.decoder = decoders.Metaspace(prepend_scheme=scheme)
    if fallback:
        engine.decoder = decoders.Sequence([decoders.ByteFallback(), engine.decoder, decoders.Fuse()])

    def added(*wanted):
        return [AddedToken(piece.piece, normalized=False) for piece in proto.pieces if piece.type in wanted]

    engine.add_special_tokens(added(UNKNOWN, CONTROL))
    engine.add_tokens(added(USER_DEFINED))
    return engine


def _merges(vocabulary):
    """The merges that a vocabulary in the order of learning implies: every piece from every pair that makes it."""
    merges = []
    for piece, rank in vocabulary.items():
        cuts = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        pairs = [pair for pair in cuts if pair[0] in vocabulary and pair[1] in vocabulary]
        merges += [(rank, vocabulary[left], vocabulary[right], left, right) for left, right in pairs]
    return [(left, right) for *_, left, right in sorted(merges)]
