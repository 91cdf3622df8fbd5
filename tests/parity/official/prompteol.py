"""PromptEOL as evaluation.py of its repository prompts, pads and pools."""

from tests.parity.plain import Group, Row

CODE = "kongds/scaling_sentemb @8567aa0"
PADDING, BIDIRECTIONAL = "left", False
TEMPLATE = 'This_sentence_:_"*sent_0*"_means_in_one_word:"'
LONG = "texts of more than 400 words are left out: the code cuts elsewhere (4 in the page)"


def short(text):
    return len(text.split()) <= 400


GROUPS = [
    Group(takes=short, note=LONG),
    Group({"demonstration": ("A man is smoking.", "Smoking")}, takes=short, note=LONG),
]


def row(tokenizer, text, group):
    template = TEMPLATE.replace("_", " ")
    if group.fields:
        sentence, word = group.fields["demonstration"]
        template = f'{template.replace("*sent 0*", sentence)}{word}".{template}'
    if len(text) > 0 and text[-1] not in ".?\"'":
        text += "."
    text = text.replace('"', "'")
    if len(text) > 0 and text[-1] == "?":
        text = text[:-1] + "."
    return Row(tokenizer(template.replace("*sent 0*", text).strip())["input_ids"])


def pool(states_BLD, mask_BL, rows):
    return states_BLD[:, -1, :]
