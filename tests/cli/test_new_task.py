"""A new task is one file: padded sequences of tokens, weighted by their length, audited as it stands."""

from __future__ import annotations

from pathlib import Path

TASK = '''
"""Which of four tags a token has, from itself and the token before it; sentences of unequal length."""
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from algobias import Task

PAD = -100

class Sentences(torch.utils.data.Dataset):
    def __init__(self, n, seed):
        made = torch.Generator().manual_seed(seed)
        self.words = [torch.randint(1, 12, (int(torch.randint(2, 9, (), generator=made)),), generator=made)
                      for _ in range(n)]
    def __len__(self):
        return len(self.words)
    def __getitem__(self, i):
        words = self.words[i]
        return words, (words + words.roll(1)) % 4

def collate(items):
    pad = nn.utils.rnn.pad_sequence
    return {"words": pad([w for w, _ in items], batch_first=True),
            "tags": pad([t for _, t in items], batch_first=True, padding_value=PAD)}

class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(12, 16, padding_idx=0)
        self.mix = nn.Linear(32, 32)
        self.head = nn.Linear(32, 4)
    def forward(self, words):
        now = self.embed(words)
        return self.head(torch.relu(self.mix(torch.cat([now, now.roll(1, 1)], -1))))

def tokens(batch):
    return (batch["tags"] != PAD).sum(-1).float()

def loss(model, batch):
    return cross_entropy(model(batch["words"]).transpose(1, 2), batch["tags"], ignore_index=PAD)

def metric(model, batch):
    hit = (model(batch["words"]).argmax(-1) == batch["tags"]) & (batch["tags"] != PAD)
    return 100 * hit.sum(-1) / tokens(batch)

def whole_sentences(model, batches):
    right = [(metric(model, batch) > 99.9).float() for batch in batches]
    return float(100 * torch.cat(right).mean())

def sample(model):
    return "tags of 1 2 3: " + " ".join(map(str, model(torch.tensor([[1, 2, 3]])).argmax(-1)[0].tolist()))

tags = Task("tags", Sentences(200, 0), Sentences(150, 1), Tagger, loss, metric,
            {"optimizer": "adam", "lr": 0.01, "batch": 20, "updates": 60}, collate=collate, weight=tokens,
            metric_name="accuracy per token", trivial=25.0, also={"whole_sentences": whole_sentences},
            sample=sample)
'''


def test_one_file_is_a_task(run, tmp_path):
    (tmp_path / "tags.py").write_text(TASK, encoding="utf-8")
    asked = ("audit", "tags.py:tags", "--change", "budget:x0.4", "--looks", "3", "--tolerance", "1")
    ended = run(*asked, "--probes", "weight_norm,distance_from_init,gradient_variance", "--json", "--quiet")
    assert ended.code == 0, ended.err
    answer = ended.json

    baseline, variant = answer["arms"][:2]
    assert baseline["metric"]["mean"] > 70 > variant["metric"]["mean"] > 50
    assert answer["verdict"] == "optimization"
    assert answer["metric"] == "accuracy per token"

    whole = [arm["also"]["whole_sentences"]["mean"] for arm in (baseline, variant)]
    assert whole[0] > whole[1]
    page = Path(answer["report"]).read_text(encoding="utf-8")
    assert "tags of 1 2 3" in page
    assert "whole sentences" in page

    read = {entry["probe"]: entry["status"] for entry in answer["moved"]}
    assert {"weight_norm", "distance_from_init", "gradient_variance"} <= set(read), answer["readings"]
