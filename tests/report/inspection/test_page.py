"""The page of a run without a browser: complete for every shape of data, and names of others are only names."""

import re
from html import unescape

import pytest

from hf_ssl.report.inspection.page import render_page, write_page
from hf_ssl.report.inspection.page_data import PICTURE_CLASSES

from tests.helpers.html_page import Page, data_of
from tests.helpers.inspected_run import make_document, without_data

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!--",
    "{{ 7 * 7 }}",
    "\u202egnp.exe\x1b[2J\u2028",
    "' onmouseover='alert(1)",
]
NAN = float("nan")
UNKNOWN = {"part": [1], "row": [0], "name": [None], "x": [NAN], "y": [None], "label": [-1], "media": [-1]}
UNKNOWN |= {"predicted": {"probe": [-1], "features": [None], "fixmatch": [NAN]}}
UNKNOWN |= {key: [NAN] for key in ("confidence", "disagreement", "change", "foreign")}
# Shape of the data -> the document and texts of its page.
SHAPES = {
    "everything": (make_document(), ["Kept: fixmatch.", "90.0 %", "fixmatch (fine-tuned from there)"]),
    "no test set": (
        make_document(confusion=None, calibration=None),
        ["nothing can be compared", "Whether the probabilities can be trusted is not known"],
    ),
    "no curves": (make_document(curves={}), ["There are no curves"]),
    "an evaluation at the end": (make_document(curves={"accuracy": {"a": [[9, 0.5]]}}), ["There are no curves"]),
    "curves without a number": (make_document(curves={"loss": {"a": [[1, NAN]], "b": []}}), ["There are no curves"]),
    "no previews": (make_document(previews=0), ["The examples themselves cannot be shown"]),
    "a class without predictions": (
        make_document(classes=1, label_errors=[], duplicates=[])
        | {"classes": [{"name": "cat", "labeled": 2, "predicted": 0, "recall": None}]},
        ["cat", "None is wrong."],
    ),
    "2 classes": (make_document(classes=2), ["All pairs that are confused."]),
    "1,000 classes": (
        make_document(examples=3000, classes=1000, previews=0),
        [f"Shown are the {PICTURE_CLASSES} classes with the most errors, of 1,000.", "The 20 of 100 pairs"],
    ),
    "recordings": (make_document(kind="audio"), ["labeled example 3"]),
    "empty texts": (make_document(kind="text", media=[{"kind": "text", "text": ""}] * 60), ["labeled example 3"]),
    "nothing is known of an example": (
        make_document(media=[], duplicates=[], label_errors=[]) | {"examples": UNKNOWN},
        ["There is no map", "No label looks wrong", "No two examples are nearly the same"],
    ),
    "data and model have moved": (
        without_data(make_document()),
        ["How this run was trained is not known.", "No examples are known", "The settings of this run are not known."],
    ),
}


@pytest.mark.parametrize("document, texts", SHAPES.values(), ids=SHAPES)
def test_every_shape_of_data_has_its_page(document, texts):
    text = render_page(document)
    page = Page(text)
    shown = " ".join("".join(page.text).split())
    assert [words for words in texts if words not in shown] == []
    assert page.wrong == [] and page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["href"][1:] for attributes in page.all("a")} <= set(ids)
    headings = [attributes["aria-labelledby"] for attributes in page.all("section") if "aria-labelledby" in attributes]
    assert len(headings) == 10 and set(headings) <= set(ids)
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    regions = [a for a in page.all("div") if a.get("class") == "scroll"]
    assert all(a["role"] == "region" and a["aria-label"] and a["tabindex"] == "0" for a in regions)
    assert "nan" not in shown.lower() and "None " not in shown.replace("None is wrong", "")


def cells_of(text, section):
    """Texts of the cells of the first table in a section, row by row."""
    table = re.search(rf'<section id="{section}".*?<tbody>(.*?)</tbody>', text, re.DOTALL)[1]
    rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    strip = re.compile(r"<[^>]*>")
    return [
        [unescape(strip.sub("", cell)) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in rows
    ]


def test_tables_have_the_numbers_of_the_run():
    text = render_page(make_document())
    assert cells_of(text, "summary") == [
        ["probe (labels alone, frozen features)", "50.0 %", "50 ± 10 %", "1", ""],
        ["fixmatch (fine-tuned from there)", "90.0 %", "-", "20", "yes"],
    ]
    assert text.count('<tr class="kept">') == 1
    assert cells_of(text, "classes") == [[f"class {k}", "2", "20", "90\u00a0%"] for k in range(3)]
    assert cells_of(text, "confusion") == [
        ["class 0", "18", "2", "0"],
        ["class 1", "0", "18", "2"],
        ["class 2", "2", "0", "18"],
    ]
    assert "On the test set, 54 of 60 are right (90.0 %)." in text
    pairs = re.findall(r'data-true="(\d)" data-predicted="(\d)"', text)
    assert pairs == [("0", "1"), ("1", "2"), ("2", "0")]
    assert cells_of(text, "calibration")[1] == [
        "50 to 100\u00a0%",
        "10",
        "75\u00a0%",
        "60\u00a0%",
    ]
    assert cells_of(text, "settings") == [
        ["algorithm", "auto"],
        ["batch_size", "32"],
        ["fp16", "no"],
        ["views", '["weak", "strong"]'],
    ]


def test_errors_and_duplicates_say_what_is_wrong():
    text = render_page(make_document())
    assert "1 label looks wrong" in text and "1 pair of examples is nearly the same" in text
    items = re.findall("<li><.*?</li>", text[text.index('id="labels"') :], re.DOTALL)
    words = [
        unescape(re.sub(r"<br>|</fig\w+>|<[^>]*>", lambda tag: " " * (tag[0][1:4] in "br>/fi"), i)) for i in items
    ]
    assert [" ".join(found.split()) for found in words] == [
        "3.png given class 0, looks like class 1 (97 %)",
        "1.png (labeled) 59.png (test) similarity 0.998 one is in the test set, the other is trained on "
        "labels differ: class 1 and class 2",
    ]


def test_curves_are_drawn_to_scale_and_told():
    text = render_page(make_document())
    loss = re.search(r'<svg[^>]*aria-labelledby="curve-0-title.*?</svg>', text, re.DOTALL)[0]
    assert "fixmatch: 2 at step 10 to 0.5 at step 30." in loss
    points = [tuple(map(float, point.split())) for point in re.split("[ML]", re.search(r'd="M(.*?)"', loss)[1])]
    assert [x for x, _ in points] == [164.0, 276.0, 388.0]
    falls = [points[k + 1][1] - points[k][1] for k in range(2)]
    assert falls[0] == pytest.approx(2 * falls[1], abs=0.2)
    assert "fixmatch: 50 % at step 10 to 90 % at step 30." in text


def test_a_gap_in_a_curve_is_a_gap_in_its_line():
    text = render_page(make_document(curves={"loss": {"a": [[1, 1.0], [2, 2.0], [3, NAN], [4, 1.0], [5, None]]}}))
    line = re.search(r'<path class="s0 d0" d="(M\d[^"]*)"/></svg></figure>', text)[1]
    assert re.sub(r"[\d. ]+", "", line) == "MLMh"


def test_bars_of_the_reliability_picture_end_at_the_share_that_is_right():
    (bar,) = re.findall(
        r'<rect class="hit" x="(.*?)" y="(.*?)" width="(.*?)" height="(.*?)"/>', render_page(make_document())
    )
    assert tuple(map(float, bar)) == (217.0, 140.0, 158.0, 192.0)


def test_the_script_gets_small_columns_and_no_number_that_json_lacks():
    document = make_document(examples=2000, classes=1000, previews=1)
    document["examples"]["x"][:3] = [NAN, 1 / 3, float("inf")]
    document["examples"]["confidence"][0] = NAN
    data = data_of(render_page(document))
    assert data["examples"]["x"][:3] == [None, 0.3333, None] and data["examples"]["confidence"][0] is None
    assert data["examples"]["predicted"][2] == document["examples"]["predicted"]["fixmatch"]
    confusion = data["confusion"]
    assert len(confusion["classes"]) == PICTURE_CLASSES and confusion["classes"] == sorted(confusion["classes"])
    for row, column, count in confusion["pairs"]:
        assert document["confusion"]["counts"][confusion["classes"][row]][confusion["classes"][column]] == count
    assert data_of(render_page(make_document()))["confusion"] is None


def test_nothing_is_loaded_from_elsewhere():
    text = render_page(make_document())
    page = Page(text)
    assert [name for name, attributes in page.elements if "src" in attributes or name in ("link", "iframe")] == []
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|innerHTML|https?://(?!www\.w3\.org/2000/svg)", text)
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    assert "img-src data:; media-src data:;" in policy
    assert [a for _, a in page.elements if "style" in a or any(name.startswith("on") for name in a)] == []


@pytest.mark.parametrize("name", HOSTILE)
def test_names_and_texts_of_others_are_only_texts(name):
    document = make_document(kind="text", title=name, subtitle=name, verdict=name, command=name)
    document |= {"facts": [[name, name]], "settings": {name: {name: name}}, "versions": {name: name}}
    document |= {"curves": {name: {name: [[1, 1.0], [2, 0.5]]}}, "methods": [name]}
    document["stages"][1]["algorithm"] = name
    document["examples"]["predicted"] = {name: document["examples"]["predicted"]["probe"]}
    document["examples"]["name"][3] = name
    document["media"][3] = {"kind": "text", "text": name}
    document["confusion"]["of"] = document["calibration"]["of"] = name
    for row in document["classes"]:
        row["name"] = name
    text = render_page(document)
    page = Page(text)
    assert page.wrong == [] and page.open == []
    assert len(page.all("script")) == 2 and page.all("img") == []
    assert [a for _, a in page.elements if any(key.startswith("on") for key in a)] == []
    assert not re.search("[\x1b\u202e\u2028]", text)
    data = data_of(text)
    assert data["media"][3]["text"] == name and len(set(data["classes"])) == 1


@pytest.mark.parametrize(
    "change, error",
    [
        ({"x": [0.5]}, r"columns of examples must be of one length, got part 60, .*x 1"),
        ({"predicted": {"probe": [], "features": [], "fixmatch": []}}, "predicted by probe 0"),
        ({"media": [60] * 60}, "media of examples must be below 60, got 60"),
    ],
)
def test_examples_that_do_not_fit_are_named(change, error):
    document = make_document()
    document["examples"] |= change
    with pytest.raises(ValueError, match=error):
        render_page(document)


@pytest.mark.parametrize(
    "medium",
    [
        {"kind": "image", "src": "https://example.org/a.png"},
        {"kind": "audio", "src": "data:text/html,<script>"},
        {"kind": "frame", "src": "data:image/png,"},
    ],
)
def test_media_are_part_of_the_page(medium):
    with pytest.raises(ValueError, match="media must be texts, or images and audio in data: addresses, got"):
        render_page(make_document(media=[medium] * 60))


def test_a_long_name_of_a_model_breaks_after_its_words():
    page = render_page(make_document() | {"facts": [["Model", "a_b<i>"]]})
    assert "<dd><bdi>a_<wbr>b&lt;i&gt;</bdi></dd>" in page


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "inspect.html"
    write_page(path, make_document())
    whole = path.read_bytes()
    assert whole.endswith(b"</html>")
    with pytest.raises(ValueError, match="columns"):
        write_page(path, make_document() | {"examples": make_document()["examples"] | {"row": []}})
    assert path.read_bytes() == whole and [found.name for found in tmp_path.iterdir()] == ["inspect.html"]
