"""Names that look like markup stand on a card as they are, and change nothing around them."""

import re

import pytest
from huggingface_hub import ModelCard

from hf_ssl.hub.card_facts import CardFacts
from hf_ssl.hub.model_card import model_card
from hf_ssl.hub.provenance import DataSource
from hf_ssl.report.markdown import cell, code, plain

from tests.helpers.run_facts import make_model, make_run

NAMES = (
    "a\nb",
    "a\r\n\r\n# Heading",
    "a\u2028b",
    "a | b",
    "`a`",
    "```\nrm -rf",
    "<script>alert(1)</script>",
    "<img src=x onerror=y>",
    "[click](https://evil.example)",
    "![x](https://evil.example/x.png)",
    "https://evil.example",
    "www.evil.example",
    "me@evil.example",
    "*bold* _em_ ~~gone~~",
    "$x$",
    "&lt;b&gt;",
    "\\",
    "\\|",
    "---",
    "a: b # c",
    "{{ 7 * 7 }} {% raw %}",
    "\u202etxt",
    "\x00\x1b[31m",
    "'\"",
)


def shown(markdown):
    """What Markdown shows of a line: escapes undone, as CommonMark 0.31 has them."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_letter_by_letter(name):
    escaped = plain(name)
    assert "\n" not in escaped and not re.search(r"(?<!\\)(?:\\\\)*(?:[`*<>|\[\]~$@]|&(?=#?\w+;))", escaped)
    letters = "".join(x for x in shown(escaped) if not x.isspace())
    assert letters == re.sub(r"[\s\u202e\x00\x1b]", "", name)
    assert not re.search(r"(?<!\\)://|www(?=\.)", escaped)


@pytest.mark.parametrize(
    "name", ["cat", "LABEL_0", "sport/tennis", "New York (state)", "it's", "C++", "50 %", "Größe", "-1"]
)
def test_an_ordinary_name_stays_as_it_is(name):
    assert plain(name) == name and code(name) == f"`{name}`"


@pytest.mark.parametrize("name", NAMES)
def test_code_is_not_ended_by_what_is_in_it(name):
    (ticks, inner, last) = re.fullmatch(r"(`+)(.*?)(`+)", code(name)).groups()
    assert ticks == last and ticks not in inner and "\n" not in inner
    assert not re.search(r"(?<!\\)\|", cell(code(name)))


@pytest.mark.parametrize("name", NAMES)
def test_names_change_nothing_of_a_card(name):
    """With a hostile name in each place, the card has the lines of one with an ordinary name there."""

    def lines(name):
        run = make_run(
            names=(name, "b", "c"),
            history=({"eval_accuracy": 0.5, f"eval_{name}": 0.25, "step": 10},),
            views={"weak": f"made by {name}"},
        )
        source = DataSource("someone/x", config=name)
        model = make_model(architecture=name, hardware=name, labeled=source, evaluation={"": source}, public_name=name)
        facts = CardFacts(name=name, dataset=name, base_model=name, tags=[name], command="hf-ssl train --x 'y'")
        card = model_card(run, model, facts)
        # The metadata hold it as it is, and are read back.
        assert ModelCard(str(card)).data.to_dict()["model-index"][0]["name"] == name
        return card.content.split("\n---\n", 1)[1].splitlines()

    usual, hostile = lines("usual"), lines(name)
    assert len(hostile) == len(usual)
    kinds = [[re.match(r"(#+ |\| |```+\w*$|- |)", line)[0] for line in card] for card in (usual, hostile)]
    assert kinds[0] == kinds[1]
    for line, model in zip(hostile, usual, strict=True):
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) == len(re.findall(r"(?<!\\)\|", model))
    text = "\n".join(hostile)
    outside = re.sub(r"(```+).*?\1|(`+).*?\2", "", text, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)<(script|img)", outside) and "](https://evil" not in outside


def test_a_command_with_a_fence_does_not_end_its_block():
    card = model_card(make_run(), make_model(), CardFacts(command="hf-ssl train --x '\n```\n# Heading\n'"))
    assert "\n````sh\n" in card.content and "# Heading\n'\n````\n" in card.content


def test_a_name_in_the_lines_of_code_is_one_string_of_python():
    name = 'a"); import os; os.system("x'
    content = model_card(make_run(), make_model(public_name=name), CardFacts()).content
    (line,) = [line for line in content.splitlines() if line.startswith("model = ")]
    names = {}
    exec(line, {}, names)
    assert names == {"model": name}
