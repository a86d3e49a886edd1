"""What training shows and writes as it goes."""

import pytest
from tensorboardX.proto.event_pb2 import Event

from attention_jax.config import TrainingConfig
from experiments.progress import watch

TRAIN = {
    "epoch": 0.5,
    "loss": 1.25,
    "accuracy": 0.5,
    "tokens_per_second": 2_000.0,
    "learning_rate": 1e-3,
    "compilations": 1,
    "minutes": 0.25,
}
DEV = {"loss": 1.0, "accuracy": 0.6, "bleu": 30.0, "exact_match": 10.0, "best_step": 20}
ROWS = [
    {
        "event": "start",
        "step": 5,
        "pairs": {"train": 100, "dev": 10, "test": 10},
        "batch_shapes": [(4, 5)],
        "source_vocabulary": 9,
        "target_vocabulary": 8,
        "split_hash": "0123456789abcdef",
        "data": {"leaks": 0},
        "parameters": 1_234,
        "steps_per_epoch": 20,
        "padding_share": 0.1,
        "damaged_checkpoints": {"7": "a bit is flipped"},
        "changed_config": ["training.steps: 10 -> 20"],
    },
    {"event": "train", "step": 10, **TRAIN},
    {"event": "train", "step": 20, **TRAIN},
    {"event": "dev", "step": 20, **DEV},
    {"event": "sample", "source": "[b]a", "reference": "b", "hypothesis": "c"},
    {
        "event": "end",
        "step": 20,
        "reason": "steps",
        "minutes": 0.5,
        "best_step": 20,
        "best_loss": 1.0,
    },
]


def shown(tmp_path, capsys):
    with watch(tmp_path / "events", TrainingConfig(steps=20)) as log:
        for row in ROWS:
            log(row)
    return capsys.readouterr().err


def test_a_line_for_each_row(tmp_path, capsys):
    lines = shown(tmp_path, capsys).splitlines()
    assert lines[0].startswith("data: 100 training, 10 dev and 10 test pairs; vocabul")
    assert "resuming after step 5" in lines
    assert any(line.startswith("skipped checkpoint 7") for line in lines)
    assert "changed configuration: training.steps: 10 -> 20" in lines
    steps = [line.split()[1] for line in lines if line.startswith("step ")]
    assert steps == ["10/20", "20/20"]
    assert "dev after step 20: loss 1.0000, the best so far; accuracy 60.0%" in (
        "\n".join(lines)
    )
    # Nothing is taken for markup.
    assert "  source      [b]a" in lines
    assert lines[-1].startswith("finished after step 20 and 0.5 minutes; best on dev")


def test_events_are_what_tensorboard_reads(tmp_path, capsys):
    shown(tmp_path, capsys)
    [file] = (tmp_path / "events").iterdir()
    data, found = file.read_bytes(), {}
    while data:
        length = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + length])
        for value in event.summary.value:
            found[value.tag, event.step] = value.simple_value
        data = data[12 + length + 4 :]
    expected = {
        (f"{row['event']}/{name}", row["step"]): value
        for row in ROWS
        if row["event"] in ("train", "dev")
        for name, value in row.items()
        if name not in ("event", "step")
    }
    assert found == pytest.approx(expected, rel=1e-6)
