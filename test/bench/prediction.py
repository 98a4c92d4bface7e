"""How far predicted times are from measured ones, of pairs (predicted, measured)."""
import statistics


def ranks(values):
    """The place of each in ascending order; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    result, first = [0.0] * len(values), 0
    while first < len(order):
        last = first
        while last + 1 < len(order) and values[order[last + 1]] == values[order[first]]:
            last += 1
        for place in range(first, last + 1):
            result[order[place]] = (first + last) / 2
        first = last + 1
    return result


def rank_correlation(a, b):
    """Spearman's: of the ranks; 1 where there is nothing to order."""
    x, y = ranks(a), ranks(b)
    mean = (len(a) - 1) / 2
    spread = sum((p - mean) ** 2 for p in x) * sum((q - mean) ** 2 for q in y)
    return sum((p - mean) * (q - mean) for p, q in zip(x, y)) / spread ** 0.5 if spread else 1.0


def errors_of(pairs):
    return [abs(predicted / measured - 1) for predicted, measured in pairs]


def sentence(pairs):
    errors = errors_of(pairs)
    return (f"{len(pairs)} plans: mean error {100 * statistics.mean(errors):.1f} %, worst {100 * max(errors):.1f} %, "
            f"rank correlation {rank_correlation(*zip(*pairs)):.4f}")
