"""Word and character error rates of transcripts."""


def error_rates(references, hypotheses) -> dict:
    """`{"word_error_rate": …, "character_error_rate": …}` of a corpus.

    The edits of all transcripts over the words, or characters, of all references: not the mean over clips, in which a
    short one would count as much as a long one. An empty reference adds what was heard where nothing was said.

    Raises ValueError for lists of different lengths and for references that are all empty, and ModuleNotFoundError
    that names the extra where jiwer is not installed.
    """
    references, hypotheses = list(references), list(hypotheses)
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references and {len(hypotheses)} hypotheses; wanted one for each")
    if not any(text.strip() for text in references):
        raise ValueError("every reference is empty: no error rate without a word")
    try:
        import jiwer
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("error rates need jiwer: install kzoo[speech], or pip install jiwer") from error
    words = jiwer.process_words(references, hypotheses)
    characters = jiwer.process_characters(references, hypotheses)
    return {"word_error_rate": words.wer, "character_error_rate": characters.cer}
