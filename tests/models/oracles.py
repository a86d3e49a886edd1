"""The encoder-decoder in slow float64 NumPy, one row and one step at a time."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(e):
    e = np.exp(e - e.max())
    return e / e.sum()


def lstm(x, state, params):
    """One step: x [I], state (c, h)."""
    c, h = state
    gates = x @ params["w_input"] + params["bias"] + h @ params["w_hidden"]
    i, f, g, o = np.split(gates, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return c, sigmoid(o) * np.tanh(c)


def gru(x, state, params):
    """One step: x [I], state (h,)."""
    (h,) = state
    x_r, x_z, x_n = np.split(x @ params["w_input"] + params["bias"], 3)
    h_r, h_z, h_n = np.split(h @ params["w_hidden"], 3)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = np.tanh(x_n + r * (h_n + params["hidden_bias"]))
    return ((1 - z) * n + z * h,)


CELLS = {"lstm": (lstm, ("cell", "hidden")), "gru": (gru, ("hidden",))}


def run(cell, xs, params, state):
    """The hidden state at each of a list of inputs, and the last state."""
    step, _ = CELLS[cell]
    hiddens = []
    for x in xs:
        state = step(x, state, params)
        hiddens.append(state[-1])
    return hiddens, state


def encode(cell, params, words):
    """h_1..h_n of one sentence and the final state of the top layer, by field."""
    _, fields = CELLS[cell]
    xs = [params["embedding"][word] for word in words]
    final = None
    for layer in params["layers"].values():
        size = layer["forward"]["w_hidden"].shape[0]
        zero = tuple(np.zeros(size) for _ in fields)
        forward, last = run(cell, xs, layer["forward"], zero)
        outputs, final = forward, [last]
        if "backward" in layer:
            backward, first = run(cell, xs[::-1], layer["backward"], zero)
            pairs = zip(forward, backward[::-1], strict=True)
            outputs, final = [np.concatenate(pair) for pair in pairs], [last, first]
        xs = outputs
    joined = tuple(np.concatenate(parts) for parts in zip(*final, strict=True))
    return xs, joined


def bridge(cell, params, final):
    """The decoder's first state, layer by layer."""
    _, fields = CELLS[cell]
    return [
        tuple(
            np.tanh(part @ maps[field]["kernel"] + maps[field]["bias"])
            for field, part in zip(fields, final, strict=True)
        )
        for maps in params["layers"].values()
    ]


def additive(query, keys, params):
    hidden = np.tanh(query @ params["w_query"] + keys @ params["w_key"])
    return hidden @ params["v"]


def bilinear(query, keys, params):
    (w,) = params.values()
    return keys @ (query @ w)


def dot(query, keys, params):
    return keys @ query


SCORES = {"additive": additive, "bilinear": bilinear, "dot": dot}


def attend(score, params, query, states):
    """o_t and a_t of one query over the valid states."""
    states = np.stack(states)
    weights = softmax(SCORES[score](query, states, params))
    return weights @ states, weights


def translate(config, params, source, target):
    """Logits [T, W] and weights [T, n] of one pair, the previous words given."""
    states, final = encode(config.cell, params["encoder"], source)
    cells = bridge(config.cell, params["bridge"], final)
    decoder = params["decoder"]
    step, _ = CELLS[config.cell]
    fed = np.zeros(decoder["readout"]["combine"].shape[1:]) if _fed(config) else None
    all_logits, all_weights = [], []

    def look(query):
        score_params = decoder["attention"]["params"]
        return attend(config.score, score_params, query, states)

    for word in target:
        x = decoder["embedding"][word]
        if config.attention == "before":
            context, weights = look(cells[-1][-1])
            x = np.concatenate([x, context])
        if config.attention == "input_feeding":
            x = np.concatenate([x, fed])
        for i, layer in enumerate(decoder["layers"].values()):
            cells[i] = step(x, cells[i], layer)
            x = cells[i][-1]
        if config.attention in ("after", "input_feeding"):
            context, weights = look(x)
        if config.attention == "none":
            features, weights = x, np.zeros(len(states))
        else:
            features = np.concatenate([context, x])
        if config.readout == "tanh" or config.attention == "input_feeding":
            features = fed = np.tanh(features @ decoder["readout"]["combine"])
        tied = config.tied_embeddings
        kernel = decoder["embedding"].T if tied else decoder["projection"]
        all_logits.append(features @ kernel + decoder["projection_bias"])
        all_weights.append(weights)
    return np.stack(all_logits), np.stack(all_weights)


def _fed(config):
    return config.attention == "input_feeding"
