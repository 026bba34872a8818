"""Which emoji are one picture in several versions: a concept, of which no part may be trained on and another judged.

Three rules, in this order:

1. Versions that Unicode writes as such are dropped: skin tones, the sign of a gender, of hair and of facing right that
   is joined to a person, and man and woman where a person may stand.
2. `TWINS` and `WHOLE` list by hand what Unicode gives code points of their own though it is one drawing turned,
   mirrored, recoloured, put on the same tile or clock face, or a gender's version.
3. All else is a concept of its own.
"""

import re

TONES = re.compile("[\U0001f3fb-\U0001f3ff]")
SELECTOR = "\ufe0f"  # asks for colour; texts with and without it are the same emoji
JOINER = "\u200d"

_JOINED_VERSIONS = re.compile(f"{JOINER}[\u2640\u2642\u27a1\U0001f9b0-\U0001f9b3]")  # female, male, facing right, hair
_ADULTS = re.compile("[\U0001f468\U0001f469]")  # man, woman
_PERSON = "\U0001f9d1"

SHORT_FOR = {
    "🫱‍🫲": "🤝",
    "🧑‍🐰‍🧑": "👯",
    "👨‍🐰‍👨": "👯‍♂",
    "👩‍🐰‍👩": "👯‍♀",
    "🧑‍\U0001faef‍🧑": "🤼",
    "👨‍\U0001faef‍👨": "🤼‍♂",
    "👩‍\U0001faef‍👩": "🤼‍♀",
    "👩‍🤝‍👨": "👫",
    "👨‍🤝‍👨": "👬",
    "👩‍🤝‍👩": "👭",
    "🧑‍❤‍💋‍🧑": "💏",
    "🧑‍❤‍🧑": "💑",
}
"""What a pair with two skin tones is called where it has none."""

WHOLE = {
    "person": "heads",
    "family": "families and couples",
    "heart": "hearts",
    "keycap": "keycaps",
    "alphanum": "letters on a tile",
    "zodiac": "signs on a purple tile",
    "religion": "signs on a purple tile",
}
"""Subcategories that are one concept as a whole."""

TWINS = {
    # One drawing with another sign, hour, phase or colour.
    "clock faces": "🕐 🕑 🕒 🕓 🕔 🕕 🕖 🕗 🕘 🕙 🕚 🕛 🕜 🕝 🕞 🕟 🕠 🕡 🕢 🕣 🕤 🕥 🕦 🕧",
    "signs on a purple tile": "🈺",
    "discs": "🔴 🟠 🟡 🟢 🔵 🟣 🟤 ⚫ ⚪ 🌑 🌒 🌓 🌔 🌕 🌖 🌗 🌘 🌙 🌚 🌛 🌜 🌝",
    "squares": "🟥 🟧 🟨 🟩 🟦 🟪 🟫 ⬛ ⬜ ◼ ◻ ◾ ◽ ▪ ▫ ⏹ 🔲 🔳 🕋",
    "diamonds": "🔶 🔷 🔸 🔹 💠 ♦",
    "families and couples": "👪 🧑‍🧑‍🧒 🧑‍🧑‍🧒‍🧒 🧑‍🧒 🧑‍🧒‍🧒",
    "heads": "🙍 🙎",
    "hearts": "♥",
    "prohibitions": "🚫 🚳 🚭 🚯 🚱 🚷 📵 🔞",
    "signs on a blue tile": "🚹 🚺 🚻 🚼 🚾 🛂 🛃 🛄 🛅 🚮 🚰 ♿ 🏧 🛗",
    "question and exclamation marks": "❓ ❔ ❗ ❕ ‼ ⁉",
    "crosses": "❌ ❎ ✖",
    "ticks": "✅ ☑ ✔",
    "sums": "\u2795 \u2796 ➗ 🟰",  # and plus and minus, which look like others
    "loops": "➰ ➿",
    "stars on a tile": "✳ ✴ ❇",
    "genders": "♀ ♂ ⚧",
    "banknotes": "💴 💵 💶 💷 💸",
    "closed books": "📕 📗 📘 📙 📓 📔 📒",
    "pages": "📃 📄 📑",
    "charts": "📈 📉 📊 💹",
    "calendars": "📅 📆 🗓",
    "medals": "🥇 🥈 🥉 🏅 🎖",
    "apples": "🍎 🍏",
    "lemons": "🍋 🍋‍🟩",
    "mushrooms": "🍄 🍄‍🟫",
    "birds": "🐦 🐦‍⬛",
    "chicks": "🐣 🐤 🐥",
    "dogs": "🐕 🐕‍🦺 🦮",
    "cats": "🐈 🐈‍⬛",
    "bears": "🐻 🐻‍❄",
    "camels": "🐪 🐫",
    "monkeys": "🙈 🙉 🙊",
    "globes": "🌍 🌎 🌏",
    "clouds": "☁ ⛅ 🌤 🌥 🌦 🌧 🌨 🌩 ⛈",
    "umbrellas": "☂ ☔ 🌂",
    "snowmen": "☃ ⛄",
    "stars": "⭐ 🌟",
    "mountains": "⛰ 🏔 🗻",
    "houses": "🏠 🏡 🏚 🏘",
    "sunsets": "🌅 🌄 🌇 🌆",
    "cars": "🚗 🚕 🚓 🚙",
    "oncoming cars": "🚘 🚖 🚔",
    "trains": "🚆 🚇 🚊 🚉 🚈",
    "hourglasses": "⌛ ⏳",
    "speakers": "🔈 🔉 🔊 🔇",
    "bells": "🔔 🔕",
    "locks": "🔒 🔓 🔏 🔐",
    "batteries": "🔋 🪫",
    "envelopes": "✉ 📧 📨 📩",
    "letter boxes": "📫 📪 📬 📭",
    "folders": "📁 📂",
    "tickets": "🎟 🎫",
    "phones": "📱 📲 📴 📳",
    "chains": "⛓ ⛓‍💥",
    "discs of data": "💿 📀 💽",
    "notes": "🎵 🎶",
    "beer mugs": "🍺 🍻",
    "brightness": "🔅 🔆",
    "busts": "👤 👥",
    # Turned and mirrored.
    "arrows": "⬆ ↗ ➡ ↘ ⬇ ↙ ⬅ ↖ ↕ ↔ ↩ ↪ ⤴ ⤵",
    "arrows with words": "🔙 🔚 🔛 🔜 🔝",
    "arrows in a ring": "🔃 🔄 🔁 🔂",
    "arrows of players": "▶ ◀ 🔼 🔽 ⏩ ⏪ ⏫ ⏬ ⏭ ⏮ ⏯",
    "triangles": "🔺 🔻",
    "pointing hands": "👈 👉 👆 👇 ☝",
    "thumbs": "👍 👎 \U0001faf9 \U0001fafa",
    "facing fists": "🤛 🤜",
    "hands to the side": "🫱 🫲",
    "pushing hands": "🫷 🫸",
    "palms": "🫳 🫴",
    "magnifying glasses": "🔍 🔎",
    "trays": "📥 📤",
    "speech balloons": "🗨 🗯 💬",
    "traffic lights": "🚥 🚦",
    "airplanes": "✈ 🛫 🛬 🛩",
    "slight smiles": "🙂 🙃 🙂‍↔ 🙂‍↕",
    # Faces that differ by less than a pixel at 32 x 32.
    "grins": "😀 😃 😄 😁 😆 😅",
    "tongues out": "😛 😜 😝 😋",
    "flat and frowning mouths": "😐 ☹ 🙁 😕 😟 😖",
    "kissing faces": "😗 😙 😚",
    "weary faces": "😩 😫",
    "faces without mouths": "😶 😶‍🌫",
    "open mouths": "😮 😮‍💨 😯",
    "dizzy faces": "😵 😵‍💫",
    # Genders and ages.
    "Christmas people": "🎅 🤶 🧑‍🎄",
    "crowned people": "🤴 👸 🫅",
    "dancers": "🕺 💃",
    "pregnant people": "🤰 🫃 🫄",
    "feeding people": "🤱 🧑‍🍼",
    # Flags with the Union Jack in their corner, or as a whole.
    "Union Jack flags": "🇬🇧 🇦🇨 🇦🇮 🇦🇺 🇧🇲 🇨🇰 🇩🇬 🇫🇯 🇫🇰 🇬🇸 🇭🇲 🇮🇴 🇰🇾 🇲🇸 🇳🇺 🇳🇿 🇵🇳 🇸🇭 🇹🇦 🇹🇨 🇹🇻 🇻🇬",
    # Flags that are the same, or nearly so at 32 x 32.
    "flags with stars and stripes": "🇺🇸 🇺🇲 🇱🇷 🇲🇾",
    "flags with a Nordic cross on red": "🇳🇴 🇧🇻 🇸🇯 🇮🇸",
    "flags of blue, white and red": "🇫🇷 🇨🇵 🇲🇫",
    "flags of Spain": "🇪🇸 🇪🇦",
    "flags of red over white": "🇮🇩 🇲🇨 🇸🇬 🇵🇱",
    "flags of blue, yellow and red": "🇷🇴 🇹🇩 🇦🇩 🇲🇩",
    "flags of green, white and red": "🇮🇹 🇮🇪 🇲🇽 🇨🇮",
    "flags of red, white and blue": "🇳🇱 🇱🇺 🇵🇾 🇭🇷",
    "flags of white, blue and red": "🇷🇺 🇸🇰 🇸🇮",
    "flags of red, white and green": "🇭🇺 🇹🇯 🇮🇳 🇳🇪",
    "flags of red, white and black": "🇪🇬 🇾🇪 🇮🇶 🇸🇾",
    "flags of black, white and green": "🇯🇴 🇵🇸 🇪🇭 🇸🇩 🇰🇼 🇦🇪",
    "flags of blue, white and blue": "🇭🇳 🇳🇮 🇸🇻 🇦🇷 🇬🇹",
    "flags of green, yellow and red": "🇲🇱 🇸🇳 🇬🇳 🇨🇲 🇧🇯",
    "flags of red, yellow and green": "🇧🇴 🇬🇭 🇪🇹",
    "flags of yellow, blue and red": "🇨🇴 🇪🇨 🇻🇪",
    "flags of yellow, green and red": "🇱🇹 🇲🇲",
    "flags of red with a mark": "🇨🇳 🇲🇦 🇻🇳 🇰🇬 🇲🇪 🇦🇱 🇭🇰 🇹🇳 🇹🇷 🇮🇲 🇲🇰",
    "flags of red with a blue corner": "🇼🇸 🇹🇼",
    "flags of blue with a mark": "🇪🇺 🇳🇷 🇫🇲 🇺🇳 🇸🇴 🇲🇵 🇽🇰",
    "flags with a red cross": "🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇬🇪 🇬🇬",
    "flags of green with a mark": "🇸🇦 🇨🇨",
    "flags of blue and a line": "🇨🇻 🇨🇼",
    "flags of a disc between stripes": "🇱🇦 🇧🇿",
}
"""Concepts with members of their own code points, apart by blanks."""


def untoned(text: str) -> str:
    """An emoji without skin tones and without the sign that asks for colour; the same for all its ways of writing."""
    plain = TONES.sub("", text).replace(SELECTOR, "")
    return SHORT_FOR.get(plain, plain)


def concept_of(text: str, subcategory: str) -> str:
    """The name of the concept that an emoji shows: a key of the tables above, else its code points in hexadecimal."""
    plain = untoned(text)
    if plain in _OF_TWIN:
        return _OF_TWIN[plain]
    if subcategory in WHOLE:
        return WHOLE[subcategory]
    shared = _ADULTS.sub(_PERSON, _JOINED_VERSIONS.sub("", plain))
    return _OF_TWIN.get(shared) or "-".join(f"{ord(character):X}" for character in shared)


_OF_TWIN = {twin.replace(SELECTOR, ""): concept for concept, twins in TWINS.items() for twin in twins.split()}
