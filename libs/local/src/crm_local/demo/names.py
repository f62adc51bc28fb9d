"""Names that people and firms of the demo bear. Addresses and numbers are such as can belong to nobody."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


GIVEN = _words(
    "Aisha Alan Amara Ana Andrej Anna Arjun Beatriz Ben Carla Chen Claire Daniel David Diego Elena Emeka Emma Erik "
    "Eva Fatima Felix Finn Freya George Grace Hana Hannah Hugo Ida Ines Ivan Jakub James Jana Joao Julia Kai Karim "
    "Kofi Laura Leila Leon Lina Lucas Maja Marco Maria Martin Mateo Mei Mia Milan Mira Nadia Nina Noah Nora Olga "
    "Oliver Omar Paula Peter Priya Rafael Rosa Ruth Samir Sara Simon Sofia Tariq Theo Tomas Valentina Viktor Yara "
    "Yusuf Zoe"
)
FAMILY = _words(
    "Abara Adler Ahmed Almeida Andersen Bakker Banerjee Bauer Becker Bergman Bianchi Brandt Brown Campbell Castro "
    "Chen Clarke Costa Dahl Davies Diaz Dubois Eriksen Farah Fischer Fontana Garcia Gomes Green Haddad Hansen "
    "Hassan Hoffmann Horvat Hughes Ito Jansen Jones Kaya Keller Khan Kim Kovacs Kowalski Larsen Laurent Lindqvist "
    "Lopez Mahmoud Marino Martin Mensah Meyer Moreau Moretti Mori Morris Murphy Nakamura Nguyen Novak Nowak Okafor "
    "Olsen Osei Patel Pereira Petrov Price Quinn Reid Richter Rossi Roy Sanchez Santos Schmidt Sharma Silva Singh "
    "Smith Sorensen Suzuki Tanaka Thomas Turner Varga Vidal Visser Vogel Walker Weber Wilson Wood Yilmaz Young "
    "Zhang Ziegler"
)
FIRMS = (
    "Alder & Sons",
    "Blue Kettle Coffee",
    "Brightwater Dental",
    "Carraway Kitchens",
    "Copperline Cycles",
    "Dunmore Logistics",
    "Eastgate Physiotherapy",
    "Fernhill Nursery",
    "Glasshouse Studio",
    "Harbour Lane Books",
    "Ironbridge Tools",
    "Juniper Catering",
    "Kestrel Surveyors",
    "Larkspur Florists",
    "Mill Road Bakery",
    "Northgate Veterinary",
    "Oak Street Garage",
    "Pennine Print",
    "Quayside Boats",
    "Rowan Architects",
    "Saltmarsh Brewery",
    "Tidewell Plumbing",
    "Upland Outdoor",
    "Wren Accounting",
)
MAIL_DOMAINS = ("example.org", "example.com", "example.net", "mail.example.org", "post.example.net")
TOWNS = (
    ("Leeds", "LS1 4AB"),
    ("Bristol", "BS1 5TR"),
    ("Cardiff", "CF10 1EP"),
    ("Edinburgh", "EH1 2NG"),
    ("Norwich", "NR2 1TF"),
    ("York", "YO1 7HH"),
)
STREETS = ("High Street", "Mill Road", "Station Road", "Church Lane", "Park Avenue", "Victoria Street", "Orchard Way")
# Numbers that the British regulator keeps for drama: the area, and the digits before the last three.
PHONE_RANGES = (
    "+441134960",
    "+441144960",
    "+441164960",
    "+441174960",
    "+441184960",
    "+441214960",
    "+441314960",
    "+441414960",
    "+441514960",
    "+441614960",
    "+442079460",
    "+441914980",
    "+442896496",
    "+442920180",
)
PHONES_PER_RANGE = 1_000
STAFF = ("maria.santos", "tom.becker", "aisha.khan", "jonas.lind")
