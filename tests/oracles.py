"""Slow float64 NumPy oracles, one query and one key at a time, written from the formulas.

A registered score or normaliser without an oracle here fails `registry_test`.
"""

import math

import numpy as np

# --- scores: (q [Q], k [K], params, position, key_length) -> number ---------------------


def dot(q, k, params, position, key_length):
    return sum(a * b for a, b in zip(q, k, strict=True))


def scaled_dot(q, k, params, position, key_length):
    return dot(q, k, params, position, key_length) / math.sqrt(len(q))


def bilinear(q, k, params, position, key_length):
    w = params["w"]
    return sum(q[a] * w[a, b] * k[b] for a in range(len(q)) for b in range(len(k)))


def low_rank_bilinear(q, k, params, position, key_length):
    u, v = params["w_query"].T, params["w_key"].T
    return float((u @ q) @ (v @ k))


def additive(q, k, params, position, key_length):
    total = 0.0
    for a in range(len(params["v"])):
        inside = params["w_query"][:, a] @ q + params["w_key"][:, a] @ k
        total += params["v"][a] * math.tanh(inside)
    return total


def cosine(q, k, params, position, key_length):
    lengths = math.sqrt(q @ q) * math.sqrt(k @ k)
    return math.exp(params["log_scale"]) * (q @ k) / lengths if lengths else 0.0


def euclidean(q, k, params, position, key_length):
    sigma = math.exp(params["log_sigma"])
    return -sum((a - b) ** 2 for a, b in zip(q, k, strict=True)) / (2 * sigma**2)


def location(q, k, params, position, key_length):
    w = params["w"]
    size = w.shape[0]
    half = math.ceil(size / 2)
    angles = [position * 10000 ** (-j / half) for j in range(half)]
    phi = [math.sin(x) for x in angles] + [math.cos(x) for x in angles]
    return sum(float(w[a] @ q) * phi[a] for a in range(size))


def local_gaussian(q, k, params, position, key_length, sigma=5.0):
    inside = sum(
        params["v"][a] * math.tanh(params["w"][a] @ q) for a in range(len(params["v"]))
    )
    centre = key_length / (1 + math.exp(-inside))
    return q @ k - (position - centre) ** 2 / (2 * sigma**2)


SCORES = {
    f.__name__: f
    for f in (
        dot,
        scaled_dot,
        bilinear,
        low_rank_bilinear,
        additive,
        cosine,
        euclidean,
        location,
        local_gaussian,
    )
}

# --- normalisers: scores of the attended keys, a non-empty list -> weights ---------------


def softmax(e, temperature=1.0):
    shifted = [math.exp((x - max(e)) / temperature) for x in e]
    return [x / sum(shifted) for x in shifted]


def sigmoid(e):
    return [1 / (1 + math.exp(-x)) for x in e]


def _bisect(total_at, low, high):
    """τ with total_at(τ) = 1, for a decreasing total."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if total_at(middle) > 1 else (low, middle)
    return (low + high) / 2


def sparsemax(e):
    def weights(tau):
        return [max(x - tau, 0.0) for x in e]

    return weights(_bisect(lambda tau: sum(weights(tau)), max(e) - 1, max(e)))


def entmax15(e):
    def weights(tau):
        return [max(x / 2 - tau, 0.0) ** 2 for x in e]

    return weights(_bisect(lambda tau: sum(weights(tau)), max(e) / 2 - 1, max(e) / 2))


def hardmax(e):
    first = list(e).index(max(e))
    return [1.0 if i == first else 0.0 for i in range(len(e))]


def top_k_softmax(e, k=8):
    kept = sorted(range(len(e)), key=lambda i: (-e[i], i))[:k]
    inner = softmax([e[i] for i in kept])
    weights = [0.0] * len(e)
    for i, weight in zip(kept, inner, strict=True):
        weights[i] = weight
    return weights


def softmax_one(e):
    shift = max(*e, 0.0)
    exponentials = [math.exp(x - shift) for x in e]
    return [x / (math.exp(-shift) + sum(exponentials)) for x in exponentials]


NORMALIZERS = {
    f.__name__: f
    for f in (
        softmax,
        sigmoid,
        sparsemax,
        entmax15,
        hardmax,
        top_k_softmax,
        softmax_one,
    )
}

# --- the whole -------------------------------------------------------------------------


def attend(q, keys, values, *, score, normalizer, params, where, key_positions=None):
    """One query: (scores of attended keys by index, weights [S], context [V])."""
    num_keys = len(keys)
    positions = range(num_keys) if key_positions is None else key_positions
    attended = [i for i in range(num_keys) if where[i]]
    key_length = 1 + max((positions[i] for i in attended), default=-1)
    e = {
        i: SCORES[score](q, keys[i], params, positions[i], key_length) for i in attended
    }
    weights = np.zeros(num_keys)
    if attended:
        weights[attended] = NORMALIZERS[normalizer]([e[i] for i in attended])
    context = np.zeros(values.shape[1])
    for i in attended:
        context += weights[i] * values[i]
    return e, weights, context


def attention(query, keys, values, mask, **arguments):
    """One sequence: context [T, V], weights [T, S] and every statistic."""
    rows = [
        attend(q, keys, values, where=where, **arguments)
        for q, where in zip(query, mask, strict=True)
    ]
    weights = np.array([w for _, w, _ in rows]).reshape(len(query), len(keys))
    context = np.array([c for _, _, c in rows]).reshape(len(query), values.shape[1])
    statistics = {
        "logsumexp": [
            math.log(sum(math.exp(x - max(e.values())) for x in e.values()))
            + max(e.values())
            if e
            else -math.inf
            for e, _, _ in rows
        ],
        "argmax": [max(e, key=lambda i: (w[i], -i)) if e else -1 for e, w, _ in rows],
        "max_weight": [w.max(initial=0.0) for _, w, _ in rows],
        "entropy": [-sum(x * math.log(x) for x in w if x > 0) for _, w, _ in rows],
        "column_sum": weights.sum(axis=0),
    }
    return context, weights, {k: np.array(v) for k, v in statistics.items()}
