#!/usr/bin/python3
"""Write or check doc/operators.md: what quern's tables say, what ONNX' operator tests say, and what ONNX defines.

usage: operators.py NODE_TESTS CASES OPERATOR_FACTS SOURCE_DIR write|check
The page is of one version of ONNX' tests; with another the check is skipped (exit 77)."""
import collections
import difflib
import glob
import os
import subprocess
import sys

import onnx

ONNX_VERSION = "1.12.0"

# Operators and attributes that came after opset 17, where this version of ONNX ends.
LATER_OPERATORS = {
    "AffineGrid": 20, "BitwiseAnd": 18, "BitwiseNot": 18, "BitwiseOr": 18, "BitwiseXor": 18, "CenterCropPad": 18,
    "Col2Im": 18, "DeformConv": 19, "Gelu": 20, "GroupNormalization": 18, "ImageDecoder": 20, "Mish": 18,
    "RegexFullMatch": 20, "StringConcat": 20, "StringSplit": 20,
}
LATER_ATTRIBUTES = {
    "AveragePool": "dilations", "Cast": "saturate", "Gelu": "approximate",
    "GroupNormalization": "epsilon num_groups stash_type", "LpPool": "ceil_mode dilations",
    "ReduceL1": "noop_with_empty_axes", "ReduceL2": "noop_with_empty_axes", "ReduceLogSum": "noop_with_empty_axes",
    "ReduceLogSumExp": "noop_with_empty_axes", "ReduceMax": "noop_with_empty_axes",
    "ReduceMean": "noop_with_empty_axes", "ReduceMin": "noop_with_empty_axes", "ReduceProd": "noop_with_empty_axes",
    "ReduceSumSquare": "noop_with_empty_axes", "Resize": "antialias axes keep_aspect_ratio_policy",
    "Split": "num_outputs",
}

# Refusals that no test of ONNX meets: what the page says, and the words of the message in the source.
SPATIAL = ("one to three spatial dimensions", "one to three spatial ones are supported")
SIZED = ("the size of the result must be known before the run", "the size of the result depends on it")
HIDDEN = ("up to 4096 hidden units", "%lld units, the limit is %d")
NOTES = {
    "AveragePool": [SPATIAL],
    "BatchNormalization": [("only at inference", "the node normalizes by its batch"),
                           ("no `spatial` 0", "only 1 is supported"),
                           ("no statistics as outputs", "a statistic of training")],
    "Cast": [("no strings, complex numbers or float8", "type %lld is not supported")],
    "Compress": [SIZED],
    "Conv": [SPATIAL],
    "ConvTranspose": [("one to three spatial dimensions", "one to three spatial ones are supported")],
    "Dropout": [("only at inference", "the node drops values")],
    "Einsum": [("up to eight operands", "at most %d are supported; split it into several nodes")],
    "GlobalAveragePool": [SPATIAL],
    "GlobalMaxPool": [SPATIAL],
    "GlobalLpPool": [SPATIAL],
    "Gemm": [("integers only with `alpha` and `beta` 1", "of integers only 1 is supported")],
    "GRU": [HIDDEN],
    "LpPool": [SPATIAL],
    "LRN": [("`bias` above 0, `alpha` not below", "a bias that is not positive, or an alpha that is negative")],
    "LSTM": [HIDDEN],
    "MaxPool": [SPATIAL],
    "NonMaxSuppression": [SIZED, ("up to 8192 boxes", "%lld boxes of %lld classes, the limit is %d")],
    "NonZero": [SIZED],
    "Pad": [("modes other than `constant` pad, and do not cut; `reflect` by less than the axis is long",
             "on axis %d of %lld elements, expected 0 to %lld")],
    "Resize": [("integers only with `nearest`", "this operator is supported for float32 only"),
               ("axes of at most 4096 taps together", "axes are resized at once that have more than %d taps")],
    "RNN": [HIDDEN],
    "Unique": [SIZED, ("up to 16384 entries", "%lld entries are compared, the limit is %d")],
    "Upsample": [("integers only with `nearest`", "this operator is supported for float32 only"),
                 ("axes of at most 4096 taps together", "axes are resized at once that have more than %d taps")],
}
# Not nodes to quern: reading a file makes something else of them.
ON_IMPORT = {
    "If": "the branch that a known condition leaves, or both and a choice of their results "
          "([onnx.md](spec/onnx.md), 5)",
    "Loop": "its turns, written out, if their number is known before the run",
    "Scan": "its turns, written out; from opset 9 on",
    "Constant": "a constant of the network: a dense tensor of numbers",
    "QuantizeLinear": "a quantizer, together with the DequantizeLinear that reads it ([onnx.md](spec/onnx.md)); alone "
                      "a node",
    "DequantizeLinear": "a quantizer of what it reads: a QuantizeLinear or a constant; otherwise a node",
    "QLinearConv": "a Conv between quantizers",
    "QLinearMatMul": "a MatMul between quantizers",
}
# Headings for what is missing; the rest is under the last.
MISSING = [
    ("sequences and optional values", "ConcatFromSequence Optional OptionalGetElement OptionalHasElement SequenceAt "
     "SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap SplitToSequence"),
    ("strings and images", "ImageDecoder RegexFullMatch StringConcat StringNormalizer StringSplit TfIdfVectorizer"),
    ("random numbers", "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike"),
    ("losses", "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss"),
    ("spectra", "BlackmanWindow DFT HammingWindow HannWindow MelWeightMatrix STFT"),
]


def lines_of(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return [line.split("\t") for line in done.stdout.splitlines()]


def schemas():
    """name -> schemas of the default domain, oldest first."""
    found = collections.defaultdict(list)
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            found[schema.name].append(schema)
    return {name: sorted(of, key=lambda s: s.since_version) for name, of in found.items()}


def opsets_of(name, defined, first, last):
    """The opsets of those quern reads that have the operator; None when none has."""
    of = defined.get(name, [])
    since = of[0].since_version if of else LATER_OPERATORS[name]
    if of and of[-1].deprecated:
        last = of[-1].since_version - 1
    return (max(first, since), last) if since <= last and last >= first else None


def in_force(of, first):
    """The schemas that opset `first` and later ones have."""
    older = [s for s in of if s.since_version <= first and not s.deprecated]
    return older[-1:] + [s for s in of if s.since_version > first and not s.deprecated]


def takes_integers(schema):
    words = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
    return bool(schema.inputs) and any("int" in t for t in words.get(schema.inputs[0].typeStr, []))


def case_types(cases):
    """case -> operator of its only node; cases of several nodes are left out."""
    found = {}
    for path in glob.glob(cases + "/*/model.onnx"):
        nodes = onnx.load(path).graph.node
        if len(nodes) == 1 and nodes[0].domain == "":
            found[os.path.basename(os.path.dirname(path))] = nodes[0].op_type
    return found


class Results:
    """What one engine made of the cases."""

    def __init__(self, program, cases, engine, types):
        lines = lines_of(program, cases, engine, "each")
        self.summary = lines[-1][0]
        self.passed, self.total, self.integers = (collections.Counter() for _ in range(3))
        self.reasons = collections.defaultdict(collections.Counter)
        for name, outcome, reason in lines[:-1]:
            if name not in types:
                continue
            op = types[name]
            self.total[op] += 1
            if outcome == "passed":
                self.passed[op] += 1
                self.integers[op] += reason != "floats"
            else:
                for start in (op + ": ", name + ": "):
                    reason = reason[len(start):] if reason.startswith(start) else reason
                self.reasons[op][reason] += 1

    def count(self, op):
        return f"{self.passed[op]}/{self.total[op]}" if self.total[op] else "none"


def tests(n):
    return f"{n} test{'s' if n > 1 else ''}"


def restrictions(op, results, refused, floats):
    said = ["floats only"] if floats else []
    said += ["no attribute " + ", ".join(f"`{name}`" for name in refused)] if refused else []
    met = collections.Counter()
    rest = []
    for reason, n in sorted(results.reasons[op].items()):
        notes = [text for text, words in NOTES.get(op, []) if words in reason]
        if notes:
            met[notes[0]] += n
        elif "later versions of ONNX" in reason:
            rest.append(f"{tests(n)} that later versions of ONNX correct")
        else:
            rest.append(f"{reason} ({tests(n)})")
    said += [text + (f" ({tests(met[text])})" if met[text] else "") for text, _ in NOTES.get(op, [])]
    return "; ".join(said + rest)


def check_notes(source, known):
    """Every note is of an operator in the table and of a message that is in the source."""
    files = glob.glob(source + "/src/graph/**/*.c", recursive=True)
    text = "".join(open(path, encoding="utf-8").read() for path in files)
    for op, notes in NOTES.items():
        for said, words in notes:
            if op not in known or words not in text:
                sys.exit(f"operators.py, NOTES of {op}: '{said}': no message '{words}' in src/graph; mend the note")


def page(program, cases, facts, source):
    defined = schemas()
    rows = lines_of(facts)
    first, last = int(rows[-1][1]), int(rows[-1][2])
    rows = rows[:-1]
    known = {row[0] for row in rows}
    check_notes(source, known)
    types = case_types(cases)
    results = {engine: Results(program, cases, engine, types) for engine in ("float", "integer")}
    out = [
        "# Operators",
        "",
        "Written by `cmake --build BUILD --target operators_doc` from quern's tables and from the operator tests of "
        f"ONNX {ONNX_VERSION}; a test compares.",
        "",
        f"quern knows {len(known)} operators of the default domain, in files of opset {first} to {last}, and reads "
        f"{len(ON_IMPORT)} more as something else. Each node is computed as the file's opset says.",
        "",
        "- **Opsets**: those that have the operator, of the ones that quern reads.",
        "- **Float**, **Islands**: operator tests of ONNX with this node alone, passed / all there are; in the float "
        "engine, and in the integer engine, where nothing has a quantizer and every node runs in float.",
        "- **Integer engine**: *codes*: on integers, where its values have quantizers and the shapes allow it, "
        "otherwise in float; *float*: always in float, with the same bytes on every CPU "
        "([arithmetic.md](spec/arithmetic.md)); *folded*: the result must be known before the run, in every engine.",
        "- **Refused**: what quern does not take. A model that has it is refused before anything runs, with the node "
        "and the reason. In brackets: how many of the tests ask for it.",
        "",
        "float16, bfloat16 and float64 are computed as float32; \"floats only\" stands where ONNX has integers, too, "
        "and quern has not. What goes into and comes out of a network is float32, whatever its type in the "
        "file. Shapes, axes, sizes and bounds are constants, or computed from shapes.",
        "",
        "| Operator | Opsets | Float | Islands | Integer engine | Refused |",
        "|---|---|---|---|---|---|",
    ]
    for op, since, until, in_float, codes, island, attributes in rows:
        if in_float != "float" or not island:
            sys.exit(f"operators.py: {op} does not run in both engines, which the page does not say")
        of = in_force(defined.get(op, []), first)
        has = {name for schema in of for name in schema.attributes} | set(LATER_ATTRIBUTES.get(op, "").split())
        passed = results["float"].passed[op]
        floats = passed > 0 and not results["float"].integers[op] and any(takes_integers(s) for s in of)
        low, high = opsets_of(op, defined, first, last)
        if (int(since), int(until)) != (low, high):
            sys.exit(f"operators.py: {op} is in opsets {low} to {high}; src/graph/op_versions.inc says {since} to {until}")
        where = "codes" if codes else "folded" if island == "folded" else "float"
        out.append(f"| {op} | {low}-{high} | {results['float'].count(op)} | {results['integer'].count(op)} | {where} | "
                   f"{restrictions(op, results['float'], sorted(has - set(attributes.split())), floats)} |")
    out += ["", "With tests of several nodes, most of them ONNX' definitions of operators by others:", "",
            f"- float: {results['float'].summary}", f"- integer: {results['integer'].summary}",
            "", "## Read as something else", "", "| Operator | Becomes |", "|---|---|"]
    out += [f"| {op} | {text} |" for op, text in sorted(ON_IMPORT.items())]
    out += ["", "## Not yet", "",
            "Operators of the default domain that quern does not know. A model with one is refused, with a list of all "
            "of them; `quern inspect` shows the rest of it.", ""]
    all_names = set(defined) | set(LATER_OPERATORS)
    missing = {op for op in all_names - known - set(ON_IMPORT) if opsets_of(op, defined, first, last)}
    for heading, names in MISSING:
        names = names.split()
        if set(names) - missing:
            sys.exit(f"operators.py, MISSING, {heading}: not missing: {' '.join(sorted(set(names) - missing))}")
        out.append(f"- {heading}: {', '.join(names)}")
        missing -= set(names)
    out.append(f"- others: {', '.join(sorted(missing))}")
    out += ["", "Of other domains quern reads the quantizers of QONNX, ONNX Runtime's quantized operators, what its "
            "optimizations leave, and its own `org.quern` ([onnx.md](spec/onnx.md)); ai.onnx.ml and others are not "
            "read.", ""]
    return "\n".join(out)


def main():
    program, cases, facts, source, what = sys.argv[1:]
    path = source + "/doc/operators.md"
    if onnx.__version__ != ONNX_VERSION:
        print(f"skipped: doc/operators.md is of the tests of ONNX {ONNX_VERSION}; this is {onnx.__version__}")
        return 77
    text = page(program, cases, facts, source)
    if what == "write":
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(path + ".new", path)
        return 0
    old = open(path, encoding="utf-8").read() if os.path.exists(path) else ""
    if old != text:
        sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), text.splitlines(True), "doc/operators.md",
                                                   "as it would be written", n=0))
        print("\ndoc/operators.md is not what would be written; run: cmake --build BUILD --target operators_doc")
        return 1
    return 0


sys.exit(main())
