"""Files as chance, full disks and ill will leave them: each kind is mangled where its readers look.

Bytes are mangled in any file. What has a form - JSON, the header of safetensors, the chunks of a PNG, the members of a
zip or a tar - is taken apart, mangled inside, and put together with right lengths and checksums, so that the damage
gets past the outer gate.
"""

import io
import json
import struct
import tarfile
import zipfile
import zlib

NUMBERS = [0, -1, 1, 2**31, 2**63, 10**12, 10**30, -(10**12), 0.5, -0.0, 1e308, 1e-320]
TEXTS = [
    "",
    "x",
    "1",
    "nan",
    "../../x",
    "/dev/zero",
    "a\x1b[2J\nb",
    "\ud800",
    "x" * 5000,
    "null",
    "True",
    "\0",
]
ODD = [None, True, False, [], {}, [1, 2], {"a": 1}, [[[]]], [None] * 1000, {str(n): n for n in range(500)}]
RAW = [
    "NaN",
    "Infinity",
    "1e999",
    "[" * 100_000,
    "9" * 5000,
    '{"a": 1, "a": 2}',
    "",
    '"\\ud800"',
    "{" * 2000,
    "-",
    "01",
]


def mangled(content, kind, draw):
    """`content` of a `kind` with a few things wrong in it, as `draw`, a `random.Random`, decides."""
    structured = {
        "json": mangled_json,
        "lines": mangled_lines,
        "yaml": mangled_yaml,
        "safetensors": mangled_safetensors,
        "png": mangled_png,
        "zip": mangled_zip,
        "tar": mangled_tar,
    }.get(kind)
    if structured is None or draw.random() < 0.25:
        return mangled_bytes(content, draw)
    return structured(content, draw)


def mangled_bytes(content, draw):
    """Cut off, filled up, exchanged, or with single bytes turned."""
    place, length = draw.randrange(len(content) + 1), draw.choice([1, 2, 8, 100, 5000])
    choice = draw.randrange(7)
    if choice == 0:
        return content[:place]
    if choice == 1:
        return content[:place] + bytes(length) + content[place + length :]
    if choice == 2:
        return content[:place] + draw.randbytes(length) + content[place:]
    if choice == 3:
        return content[:place] + content[place + length :]
    if choice == 4:
        return content * 2
    if choice == 5:
        return draw.choice([b"", b"\0", b"{}", b"[]", b"null", b"\xff\xfe\x00", b"version https://git-lfs", b"<html>"])
    changed = bytearray(content)
    for _ in range(draw.choice([1, 3, 10])):
        if changed:
            changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def mangled_json(content, draw):
    """One or two places anywhere in the document hold something else, are gone, or stand twice."""
    values = json.loads(content)
    for _ in range(draw.choice([1, 1, 2])):
        values = _changed(values, draw)
    text = json.dumps(values)
    if draw.random() < 0.2 and len(text) > 2:  # what the encoder would not write
        place = draw.choice([n for n, sign in enumerate(text) if sign in ":,[{"] or [0]) + 1
        text = text[:place] + draw.choice(RAW) + text[place if draw.random() < 0.5 else place + 1 :]
    return text.encode("utf-8", "surrogatepass")


def _changed(values, draw):
    if isinstance(values, (dict, list)) and values and draw.random() < 0.85:
        keys = list(values) if isinstance(values, dict) else range(len(values))
        key = draw.choice(keys)
        action = draw.random()
        if action < 0.15:
            del values[key]
        elif action < 0.25 and isinstance(values, dict):
            values[draw.choice([*TEXTS, str(key) + "s"])] = values.pop(key)
        elif action < 0.3 and isinstance(values, list):
            values.append(values[key])
        else:
            values[key] = _changed(values[key], draw)
        return values
    return json.loads(json.dumps(draw.choice(draw.choice([NUMBERS, TEXTS, ODD]))))


def mangled_lines(content, draw):
    """Lines of JSON, one of which is mangled, gone or doubled."""
    lines = content.splitlines()
    place = draw.randrange(len(lines))
    lines[place : place + 1] = draw.choice(
        [[], [lines[place]] * 2, [mangled_json(lines[place], draw)], [b"\xff"], [b""]]
    )
    return b"\n".join(lines) + draw.choice([b"\n", b""])


def mangled_yaml(content, draw):
    """A line of YAML says something else."""
    lines = content.decode().splitlines()
    place = draw.randrange(len(lines))
    name = lines[place].partition(":")[0]
    others = [
        "1:30",
        "&a [*a]",
        "!!python/object:os.system x",
        "on",
        "{",
        "[1, 2",
        "2001-01-01",
        "*b",
        "|",
        "? x",
        "\t",
        "- 1",
    ]
    plain = [json.dumps(value) for value in (*NUMBERS, *ODD)] + ["'" + "x" * 1000 + "'", "", "~", ".nan", ".inf"]
    value = draw.choice([*others, *plain])
    lines[place : place + 1] = draw.choice([[f"{name}: {value}"], [lines[place], f"{name}: {value}"], [], [value]])
    return "\n".join(lines).encode()


def mangled_safetensors(content, draw):
    """The header of safetensors, or the claim of its length, is mangled."""
    length = struct.unpack("<Q", content[:8])[0]
    if draw.random() < 0.2:
        claim = draw.choice([0, 1, length - 1, length + 1, 2**31, 2**63, 2**64 - 1])
        return struct.pack("<Q", claim) + content[8:]
    header = mangled_json(content[8 : 8 + length], draw)
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def mangled_png(content, draw):
    """A chunk of a PNG is mangled and has the right checksum, or is gone, doubled or in another place."""
    chunks, place = [], 8
    while place < len(content):
        size = struct.unpack(">I", content[place : place + 4])[0]
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    which = draw.randrange(len(chunks))
    kind, data = chunks[which]
    action = draw.random()
    if action < 0.1:
        del chunks[which]
    elif action < 0.2:
        chunks.insert(draw.randrange(len(chunks)), chunks[which])
    elif kind == b"iTXt" and action < 0.9:
        key, _, text = data.partition(b"\0\0\0\0\0")
        chunks[which] = kind, key + b"\0\0\0\0\0" + mangled_json(text, draw)
    elif kind == b"IHDR":
        sizes = [draw.choice([0, 1, 9, 13_000, 2**31 - 1]) for _ in range(2)]
        chunks[which] = kind, struct.pack(">II", *sizes) + data[8:]
    else:
        chunks[which] = kind, mangled_bytes(data, draw)
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return content[:8] + b"".join(parts)


def mangled_zip(content, draw):
    """A member of a zip, such as an array of an npz, is mangled, gone, renamed or compressed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    which = draw.randrange(len(members))
    name, data = members[which]
    action = draw.random()
    if action < 0.1:
        del members[which]
    elif action < 0.2:
        members[which] = draw.choice(members)[0] + "x", data
    elif action < 0.6 and data.startswith(b"\x93NUMPY"):
        members[which] = name, _claimed(data, draw)
    else:
        members[which] = name, mangled_bytes(data, draw)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", draw.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        for member, inside in members:
            archive.writestr(member, inside)
    return buffer.getvalue()


def _claimed(data, draw):
    """An npy whose header says something else, in as many bytes."""
    shape = draw.choice(["(10000000000,)", "(100000000, 16)", "(-1,)", "()", "(3,)", "(2, 2)", "[1]", "(1e9,)", "0"])
    kind = draw.choice(["<f8", "|O", "<f2", "<i8", "|S9", "<U99999999", "|V0", "<c16", "xx"])
    fortran = draw.choice(["True", "False", "1", "None"])
    text = f"{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': {shape}, }}"
    length = struct.unpack("<H", data[8:10])[0]
    return data[:10] + text.ljust(length - 1)[: length - 1].encode() + b"\n" + data[10 + length :]


def mangled_tar(content, draw):
    """A member of a tar is mangled, gone, doubled, renamed, or of another kind, with the right checksum."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = [(member, archive.extractfile(member).read()) for member in archive if member.isreg()]
    which = draw.randrange(len(members))
    member, data = members[which]
    action = draw.random()
    if action < 0.1:
        del members[which]
    elif action < 0.2:
        members.append(members[which])
    elif action < 0.35:
        member.name = draw.choice(
            ["a.cls", "../x.png", "/etc/x.png", "x" * 300 + ".png", "a/b/c.png", ".png", "\udcff.cls"]
        )
    elif action < 0.45:
        member.type = draw.choice(
            [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE]
        )
        member.linkname = draw.choice(["", "x", "/dev/zero"])
    elif action < 0.8 and member.name.endswith((".cls", ".json", ".txt")):
        said = [str(number) for number in NUMBERS] + [*RAW, " 7 ", "+3", "true", "1.7", "\ufeff1", "٣"]
        members[which] = member, draw.choice(said).encode()
    else:
        members[which] = member, mangled_bytes(data, draw)
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=draw.choice([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
    ) as archive:
        for entry, inside in members:
            entry.size = len(inside)
            try:
                archive.addfile(entry, io.BytesIO(inside) if entry.isreg() else None)
            except (ValueError, UnicodeError):  # a name that this format cannot say
                continue
    return buffer.getvalue()
