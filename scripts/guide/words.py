"""Lists of names, places and things that several skills draw from, and made-up words.

A made-up word cannot be known by heart: a model that gives it back has copied it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

NAMES = tuple(
    """Anna Ben Clara David Emma Felix Greta Hugo Ida Jonas Katja Leo Mia Noah Olga Paul Rosa Sam Tina Uwe Vera Walter Xenia Yara
    Zoe Ahmed Aisha Omar Fatima Hassan Leila Yusuf Amina Tariq Samira Wei Ling Chen Mei Hao Yuki Kenji Sakura Haruto Aiko Ravi Priya Arjun
    Anika Sanjay Deepa Carlos Maria Jose Lucia Diego Sofia Pablo Elena Mateo Camila Giulia Marco Luca Chiara Pierre Marie Luc Camille
    Antoine Ivan Natasha Boris Irina Dmitri Lars Astrid Bjorn Ingrid Sven Kwame Ama Kofi Zola Thabo Nia Jabari Amara John Mary Peter Susan
    Robert Linda Michael Sarah James Emily William Alice George Kate Thomas Laura Daniel Julia Mark Nina Tom Eva Max Lena Tim Ella Oscar Ruth
    Adam Nora Simon Hannah Victor Judith Martin Helen Frank Diana Philip Rachel Edgar Paula Bruno Teresa Oliver Grace Henry Chloe Jack Lily
    Charlie Ruby Harry Amelia Oscar Freya Arthur Isla Nikos Eleni Janos Agnes Piotr Ewa Milan Jana Ana Rui Ines Tiago Minh Linh Nam Hoa Budi
    Siti Dewi Aroha Tane Malia Keanu Kai Noor Zara Idris Selma Emre Deniz Aylin Kerem Dario Petra Goran Mira Stefan Radu Ioana""".split()
)
CITIES = tuple(
    """Paris London Berlin Madrid Rome Vienna Tokyo Osaka Kyoto Beijing Shanghai Delhi Mumbai Chennai Cairo Lagos Nairobi Accra Dakar Lima
    Bogota Quito Santiago Boston Chicago Denver Dallas Houston Seattle Portland Miami Atlanta Toronto Montreal Vancouver Calgary Sydney
    Melbourne Perth Auckland Oslo Bergen Stockholm Malmo Helsinki Turku Copenhagen Aarhus Dublin Cork Glasgow Leeds Bristol York Oxford
    Lyon Nice Lille Nantes Marseille Hamburg Munich Cologne Dresden Leipzig Bremen Hanover Zurich Geneva Basel Bern Milan Turin Naples
    Venice Bologna Lisbon Porto Seville Valencia Bilbao Athens Patras Warsaw Krakow Gdansk Prague Brno Budapest Debrecen Bucharest Cluj Sofia
    Varna Zagreb Split Belgrade Kyiv Odessa Lviv Riga Vilnius Tallinn Minsk Moscow Kazan Ankara Izmir Istanbul Tehran Baghdad Dubai
    Doha Riyadh Amman Beirut Haifa Bangkok Hanoi Hue Manila Cebu Jakarta Bandung Singapore Seoul Busan Taipei Hobart Durban Rabat Fez Tunis
    Algiers Harare Lusaka Kampala Kigali Havana Kingston Panama Austin Tampa Reno Boise Omaha Tulsa Memphis Detroit Cleveland""".split()
)
COLOURS = tuple(
    "red green blue yellow orange purple pink brown black white grey silver gold turquoise violet beige crimson navy olive teal".split()
)
ANIMALS = tuple(
    "cat dog horse cow sheep goat pig rabbit mouse lion tiger bear wolf fox deer elephant giraffe monkey owl eagle penguin dolphin whale shark turtle frog snake hedgehog otter parrot".split()
)
FOODS = tuple(
    "pizza pasta rice soup salad bread cheese sushi curry tacos noodles pancakes chocolate apples bananas strawberries potatoes lasagna burgers dumplings falafel waffles".split()
)
JOBS = tuple(
    "teacher nurse doctor baker farmer pilot painter singer plumber lawyer gardener carpenter driver cook librarian engineer programmer writer dentist waiter tailor fisherman".split()
)
HOBBIES = tuple(
    "chess football tennis swimming running painting reading dancing cooking gardening fishing hiking cycling photography knitting singing sailing climbing".split()
)
THINGS = tuple(
    "apple book chair table lamp phone pen bottle cup bag hat shirt shoe clock guitar camera bicycle umbrella ball candle mirror knife spoon plate towel pillow blanket laptop mouse keyboard".split()
)
LANGUAGES = tuple(
    "German French Spanish Italian Japanese Chinese Russian Arabic Portuguese Dutch Polish Turkish Greek Hindi Korean Swedish".split()
)
SONGS = tuple(
    "jazz rock blues Yesterday Thriller Imagine Hurt Roxanne Jolene Africa Bohemian Rhapsody Waterloo Hallelujah Respect".split()
)
WORDS = tuple(
    "river mountain window summer winter garden letter number morning evening paper stone music water island forest bridge market silver honest clever gentle quick brave quiet simple early".split()
)
SYLLABLES = tuple(
    "ba be bo da de do fa fi ga go ha ja ka ki ko la le li lo ma me mi mo na ne ni no pa pe ra re ri ro sa se so ta te ti to va vi wa ya za zo ron lin tar mel dan vik sol ner gus bel".split()
)


def made_up(rng: random.Random) -> str:
    """Return a capitalised word that is in no list."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4))).capitalize()


def name(rng: random.Random) -> str:
    """Return a first name, made up in two of five cases."""
    return made_up(rng) if rng.random() < 0.4 else rng.choice(NAMES)


def city(rng: random.Random) -> str:
    """Return a city, made up in three of ten cases."""
    return made_up(rng) if rng.random() < 0.3 else rng.choice(CITIES)


def word(rng: random.Random) -> str:
    """Return any lower-case word, made up in three of ten cases."""
    if rng.random() < 0.3:
        return made_up(rng).lower()
    return rng.choice(rng.choice((COLOURS, ANIMALS, FOODS, JOBS, HOBBIES, THINGS, WORDS)))
