"""Text that breaks tokenizers: twenty scripts, and what lies between letters.

Each script has marks, digits or joins of its own. The odd texts have invisible, wrong and rare
characters, and long runs.
"""

# ruff: noqa: RUF001 - letters that look like others are what this is about

from __future__ import annotations

SCRIPTS = {
    "Latin": "Zażółć gęślą jaźń, ﬁnancial naïveté; ĲSSEL ǅ ß ẞ Ⅷ x² ½ ª º",
    "Greek": "Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία· ΌΧΙ ς σ ͺ",
    "Cyrillic": "Съешь ещё этих мягких булок, Ґанок Їжак ѵ Ӝ 1990-х гг.",
    "Armenian": "Բարեւ աշխարհ։ և ՁՅՈՒՆ",
    "Georgian": "გამარჯობა ᲛᲡᲝᲤᲚᲘᲝ ⴀⴁ",
    "Hebrew": 'שָׁלוֹם עוֹלָם, ק"מ \u200fאבג\u200e 12',
    "Arabic": "مَرْحَبًا بِالعَالَم ١٢٣٤٫٥٪ ﷺ لا\u200cنه كـــتاب",
    "Syriac": "ܫܠܡܐ ܥܠܡܐ܂ ܐ̈",
    "Devanagari": "नमस्ते दुनिया क्षत्रिय १२३४५ ॐ कि\u200dशोर श्री॥",
    "Bengali": "ওহে বিশ্ব ৎ ১২৩৪ ক্ষ্ম",
    "Tamil": "வணக்கம் உலகம் ஸ்ரீ ௧௨௩",
    "Telugu": "హలో ప్రపంచం క్ష్మ ౧౨౩",
    "Thai": "สวัสดีชาวโลกทั้งหลาย ๑๒๓๔ ฿ กำลัง",
    "Lao": "ສະບາຍດີຊາວໂລກ ໑໒໓ ຳ",
    "Tibetan": "བཀྲ་ཤིས་བདེ་ལེགས། ༡༢༣ ༄༅",
    "Khmer": "សួស្តីពិភពលោក ១២៣៤ ៛ ក្រុម",
    "Ethiopic": "ሰላም ልዑል ፩፪፫ ።",
    "Hangul": "안녕하세요 세계 \u1112\u1161\u11ab\u1100\u1173\u11af ㅋㅋㅋ ㈜",
    "Han": "你好，世界！𠮷野家 〇 ㊗ 一二三１２３ 「引用」…… 々〻",
    "Kana": "こんにちは、ｾｶｲ！ガ が ゝゞ ヽヾ ー〜 ㌔",
    "Cherokee": "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ꭰꭱ",
    "Mongolian": "ᠮᠣᠩᠭᠣᠯ\u180e ᠪᠢᠴᠢᠭ ᠑᠒",
}
ODD = [
    "a\u00a0b\u2009c\u3000d\u1680e\u202ff\u205fg",  # spaces
    "x\u200by\u200cz\u200dw\u2060v\ufeffu",  # without width
    "\ufeffbegin",
    "line\rone\r\ntwo\n\rthree\u0085four\u2028five\u2029six\vseven\feight",
    "\x01\x02\x1b[31mred\x1b[0m\x7f",
    "e\u0301 vs \u00e9, o\u0308\u0304\u0323, \u0301alone, a" + "\u0300" * 20,
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪🇫🇷 1️⃣ ☺︎ ☺️",
    "\ue000 \uf8ff \U000f0000 \U0010fffd \U0010ffff \ufffe",
    "𝕳𝖊𝖑𝖑𝖔 𝟙𝟚𝟛 Ⓗⓔ ﬀ ㎏ ℡ № ™ ¼ ⁵ ₉ ①",
    "'S 'Re 'LL 'ſ don’t D’ARTAGNAN ''' '' '",
    "3.14e-10 0x1F 1_000 ٣٫١٤ ²³ 1234567890123456789012345",
    "    four\t\ttabs  \n   \n \t \n\n\n  end   ",
    " \n \n\n  x\n\n\n",
    "!!!???...---===>>>;;; #!/bin/sh // /* */ <!-- --> {{}} [[]] $$ %% @@",
    "https://пример.рф/путь?ключ=значение&x=%20#я",
    "aAaAaA ABCdefGHI iPhone macOS ΑΒΓαβγ ЁЖЗёжз",
    "z" * 300,
    "ا" * 100 + "漢" * 100 + "🙂" * 50,
    "\u202eright to left override\u202c \u2066isolate\u2069",
    "tab\tseparated\tvalues\r\n1\t2\t3\r\n",
    "<|endoftext|> <s></s> [CLS][SEP] <0x0A> ▁ ▁▁x <unk>",
    "I\u0307stanbul ıI İi K Å ſ",
    "\u0e33\u0e4d\u0e32 \u1100\u1161\u11a8 \u0b94 \u0b92\u0bd7",
]
HOSTILE = [*SCRIPTS.values(), *ODD]
