"""What the shop sells: the price of each article, and how many are on the shelf before the first order comes."""

PRICES_CENTS = {
    "mug-enamel": 1_450,
    "teapot-iron": 6_900,
    "kettle-steel": 8_900,
    "lamp-brass": 18_900,
    "chair-oak": 24_500,
    "desk-walnut": 89_000,
    "rug-wool": 41_200,
    "vase-blue": 3_350,
    "clock-wall": 5_775,
    "blanket-linen": 7_260,
    "poster-moon": 1_287,
    "stool-ash": 9_913,
}

# Some of it doesn't suffice for everybody who wants it.
STOCK = {
    "mug-enamel": 400,
    "teapot-iron": 150,
    "kettle-steel": 150,
    "lamp-brass": 6,
    "chair-oak": 120,
    "desk-walnut": 90,
    "rug-wool": 3,
    "vase-blue": 200,
    "clock-wall": 4,
    "blanket-linen": 200,
    "poster-moon": 300,
    "stool-ash": 100,
}
