"""Writes reference.json: embeddings of a few texts by transformers, as sentence-transformers computes them.

python tests/runtime/data/similarity/make_reference.py     (with torch and transformers installed)
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import torch
import transformers

PACKAGE = "all_minilm_l6_v2"
TEXTS = [
    "A man is eating food.",
    "The girl is carrying a baby.",
    "Schöne Grüße aus Zürich! 日本語のテキスト",
    "",
    "word " * 240,
]


def main() -> None:
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(Path(spec.origin).parent / "model.zip") as archive:
            archive.extractall(folder)
        model = transformers.AutoModel.from_pretrained(folder).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    embedding = []
    for text in TEXTS:
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        embedding.append(torch.nn.functional.normalize(states.mean(dim=0), dim=0).tolist())
    made_by = f"make_reference.py with torch {torch.__version__}, transformers {transformers.__version__}"
    written = {"made_by": made_by, "texts": TEXTS, "embedding": [[round(x, 7) for x in row] for row in embedding]}
    (Path(__file__).parent / "reference.json").write_text(json.dumps(written, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
