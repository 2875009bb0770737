# SPDX-License-Identifier: GPL-2.0-only
"""What comes of the samples of tools/bench work: tables in Markdown, a plot, and what had been aimed at."""
import shutil
import subprocess
from collections import namedtuple
from statistics import median

UNPROTECTED, HOLDFAST, CLAM = "unprotected", "holdfast", "clamonacc"
TITLES = {UNPROTECTED: "unprotected", HOLDFAST: "holdfast", CLAM: "clamd + clamonacc"}
COLOURS = {HOLDFAST: "#1f77b4", CLAM: "#d6604d"}

# bound: ratio may be at most that; or at least, where at_least.
Goal = namedtuple("Goal", "title ratio bound at_least", defaults=(False,))


# --- ratios ----------------------------------------------------------------------------------------------------


class Samples:
    """Of one run, by case and product."""

    def __init__(self, result):
        self.cases = {case["key"]: case for case in result["cases"]}

    def of(self, key, product):
        return self.cases.get(key, {}).get("samples", {}).get(product, [])

    def ratios(self, over, under):
        """Of two (case, product), in each round."""
        return [a / b for a, b in zip(self.of(*over), self.of(*under))]

    def to_unprotected(self, key, product=HOLDFAST):
        return self.ratios((key, product), (key, UNPROTECTED))


def short(number):
    """With three digits, or all before the point."""
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


def spread(numbers):
    """The median, the lowest and the highest."""
    if len(numbers) == 1:
        return short(numbers[0])
    return f"{short(median(numbers))} ({short(min(numbers))}-{short(max(numbers))})"


# --- the table -------------------------------------------------------------------------------------------------


def table(rows):
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])


def product_cells(samples, case, product):
    """What it took, and the ratio."""
    taken = samples.of(case["key"], product)
    ratios = samples.to_unprotected(case["key"], product)
    return [spread(taken) if taken else "", spread(ratios) if ratios else ""]


def case_row(samples, case):
    plain = samples.of(case["key"], UNPROTECTED)
    against = samples.ratios((case["key"], CLAM), (case["key"], HOLDFAST))
    first = spread(plain) + (f": {case['first']}" if case["first"] else "") if plain else ""
    return [
        case["title"],
        {"us": "µs"}.get(case["unit"], case["unit"]),
        first,
        *product_cells(samples, case, HOLDFAST),
        *product_cells(samples, case, CLAM),
        spread(against) if against else "",
    ]


def work_table(samples):
    head = ["work", "", "unprotected", "holdfast", "×", "clamd + clamonacc", "×", "clamonacc ÷ holdfast"]
    return table([head, *(case_row(samples, case) for case in samples.cases.values())])


# --- what had been aimed at ------------------------------------------------------------------------------------


def all_goals(samples):
    def plain(key):
        return samples.to_unprotected(key)

    def ours(over, under):
        return samples.ratios((over, HOLDFAST), (under, HOLDFAST))

    growth = [Goal(samples.cases[key]["title"], plain(key), 1.3) for key in samples.cases if key.startswith("growth-")]
    libclamav = [
        Goal(f"{case['title']}, against cl_scandesc", plain(key), 1.1)
        for key, case in samples.cases.items()
        if key.startswith("libclamav-")
    ]
    return [
        Goal("open a verified file again", plain("again"), 1.3),
        *growth,
        Goal("open out of scope again, in a directory of root's", plain("outside-root"), 1.6),
        Goal("open out of scope again, in a directory that a user may move", plain("outside-user"), 1.6),
        Goal("answer from user space", plain("known"), 10),
        *libclamav,
        Goal("throughput of four openers to that of one", ours("first-1", "first-4"), 1.8, True),
        Goal("extraction", plain("extract"), 1.5),
        Goal("read when scan-ahead is done", plain("read-drained"), 1.3),
        Goal("speed of a copy to that of the first scan", ours("original", "copy"), 20, True),
        Goal("p99 of a first open, full scan to idle", ours("busy", "idle"), 2),
        Goal("memory against one loaded engine", plain("memory"), 1.1),
    ]


def goal_row(goal):
    figure = median(goal.ratio)
    met = figure >= goal.bound if goal.at_least else figure <= goal.bound
    sign = "≥" if goal.at_least else "≤"
    return [goal.title, f"{sign} {goal.bound}", spread(goal.ratio), "met" if met else "not met"]


def against_clam(samples):
    """Everything is to be faster than with clamonacc."""
    factors = {
        case["title"]: median(ratios)
        for key, case in samples.cases.items()
        if case["unit"] != "MB" and (ratios := samples.ratios((key, CLAM), (key, HOLDFAST)))
    }
    if not factors:
        return []
    slower = [f"{title} ({short(factor)})" for title, factor in factors.items() if factor <= 1]
    figure = f"{short(min(factors.values()))} to {short(max(factors.values()))}"
    met = f"not met: {'; '.join(slower)}" if slower else "met"
    return [["clamonacc's time to ours, in everything", "> 1", figure, met]]


def goal_table(samples):
    rows = [goal_row(goal) for goal in all_goals(samples) if goal.ratio] + against_clam(samples)
    return table([["aimed at", "", "measured", ""], *rows]) if rows else ""


# --- all of it -------------------------------------------------------------------------------------------------


def text(result):
    samples, options = Samples(result), result["options"]
    lines = [
        f"{options['rounds']} rounds by turns ({options['heavy_rounds']} with a full-size set), "
        f"files of {options['size']} bytes, ext4 on loop devices, {result['cpus']} CPUs, kernel {result['kernel']}; "
        f"it took {result['seconds'] / 60:.0f} minutes.",
        "Medians, in parentheses the lowest and the highest round; × is the ratio to the first column in the same "
        "round.",
    ]
    if result["quick"]:
        lines.append("A quick run: the figures mean nothing.")
    parts = ["\n".join(lines), work_table(samples), goal_table(samples)]
    for title, remarks in (("Remarks", result["remarks"]), ("WRONG", result["wrong"])):
        if remarks:
            parts.append("\n".join([f"{title}:", "", *(f"- {line}" for line in remarks)]))
    return "\n\n".join(filter(None, parts))


# --- the plot --------------------------------------------------------------------------------------------------


def plotted(samples):
    """Of each case the ratios by product."""
    cases = []
    for key, case in samples.cases.items():
        ratios = {product: taken for product in COLOURS if (taken := samples.to_unprotected(key, product))}
        if ratios:
            cases.append((case, ratios))
    return cases


def plot(result, path):
    if not shutil.which("gnuplot"):
        raise OSError("--plot needs gnuplot: apt install gnuplot-nox")
    cases = plotted(Samples(result))
    rows = {product: [] for product in COLOURS}
    for at, (_, by_product) in enumerate(reversed(cases)):
        for offset, (product, ratios) in zip((0.2, -0.2), ((product, by_product.get(product)) for product in COLOURS)):
            if ratios:
                rows[product].append((at + offset, median(ratios), min(ratios), max(ratios)))
    script = gnuplot_script(cases, rows, path)
    done = subprocess.run(["gnuplot"], input=script, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"gnuplot: {done.stderr}")


def quoted(words):
    return "'" + words.replace("'", "''") + "'"  # as gnuplot wants it


def bars(product, taken, lowest):
    """A block of data, and how it is drawn."""
    name = f"${product}"
    lines = "\n".join(f"{y} {middle} {low} {high} {short(middle)}" for y, middle, low, high in taken)
    bar = f"({lowest}):1:({lowest}):2:($1-0.18):($1+0.18)"
    look = f"fs solid 0.85 noborder lc rgb '{COLOURS[product]}' title '{TITLES[product]}'"
    return f"{name} << EOD\n{lines}\nEOD", [
        f"{name} using {bar} with boxxyerror {look}",
        f"{name} using 2:1:3:4 with xerrorbars pt 0 lw 1.5 lc rgb '#222222' notitle",
        f"{name} using ($4*1.08):1:5 with labels left font ',11' notitle",
    ]


def gnuplot_script(cases, rows, path):
    """Bars that lie, so that there is room for their names. They begin below 1, which costs nothing."""
    lowest = min([0.5, *(low / 1.2 for taken in rows.values() for _, _, low, _ in taken)])
    highest = max([10.0, *(high * 3 for taken in rows.values() for _, _, _, high in taken)])
    titles = [case["title"] + (f" (÷ {case['first']})" if case["first"] else "") for case, _ in reversed(cases)]
    names = ", ".join(f"{quoted(title)} {at}" for at, title in enumerate(titles))
    drawn = [bars(product, taken, lowest) for product, taken in rows.items() if taken]
    terminal = "svg" if path.suffix == ".svg" else "pngcairo"
    look = f"noenhanced size 1300,{140 + 34 * len(cases)} font 'Helvetica,13' background rgb 'white'"
    return "\n".join(
        [
            *(block for block, _ in drawn),
            f"set terminal {terminal} {look}",
            f"set output {quoted(str(path))}",
            "set logscale x",
            f"set xrange [{lowest}:{highest}]",
            f"set yrange [-0.6:{len(cases) - 0.4}]",
            f"set ytics ({names}) scale 0",
            "set xtics (" + ", ".join(f"'{tick}×' {tick}" for tick in (1, 2, 5, 10, 100, 1000, 10000)) + ")",
            "set xlabel 'times what it takes unprotected: median, lowest and highest round'",
            "set lmargin at screen 0.44",
            "set rmargin at screen 0.98",
            "set grid xtics lc rgb '#dddddd'",
            "set key outside top center horizontal",
            f"set arrow from 1,-0.6 to 1,{len(cases) - 0.4} nohead lw 2 lc rgb '#444444' front",
            f"plot {', '.join(line for _, lines in drawn for line in lines)}",
            "",
        ]
    )
