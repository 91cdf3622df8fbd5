"""The languages of XLM-R, which the E5 recipe draws from; those with many texts more often."""

from __future__ import annotations

import random
from collections.abc import Sequence

# About as many drawn from the first line as from all others together.
LARGE = """English Chinese French German Spanish Russian Japanese Portuguese Italian Korean Arabic
    Dutch Polish Turkish Vietnamese Indonesian Hindi Czech Swedish Ukrainian""".split()
SMALL = (
    """Afrikaans Albanian Amharic Armenian Assamese Azerbaijani Basque Belarusian Bengali
    Bosnian Breton Bulgarian Burmese Catalan Croatian Danish Esperanto Estonian Filipino Finnish
    Galician Georgian Greek Gujarati Hausa Hebrew Hungarian Icelandic Irish Javanese Kannada Kazakh
    Khmer Kurdish Kyrgyz Lao Latin Latvian Lithuanian Macedonian Malagasy Malay Malayalam Marathi
    Mongolian Nepali Norwegian Oriya Oromo Pashto Persian Punjabi Romanian Sanskrit Serbian Sindhi
    Sinhala Slovak Slovenian Somali Sundanese Swahili Tamil Telugu Thai Urdu Uyghur Uzbek Welsh
    Xhosa Yiddish""".split()
    + ["Scottish Gaelic", "Western Frisian"]
)


def draw_language(draw: random.Random, languages: Sequence[str] = (), *, but: str = "") -> str:
    """Draw a language of a list, or of XLM-R's where it is empty. but: one that it is not."""
    if languages:
        return draw.choice([one for one in languages if one != but])
    return draw.choice([one for one in draw.choice([LARGE, SMALL]) if one != but])
