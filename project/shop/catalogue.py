"""What stands on the shelves when the shop opens."""

from decimal import Decimal

from project.shop.models import Product

# Article number, name, description, price, stock.
CATALOGUE = (
    (
        "kettle-gooseneck",
        "Gooseneck kettle",
        "Pours where you look. Steel, 0.9 litres.",
        "64.00",
        40,
    ),
    ("mug-stoneware", "Stoneware mug", "Holds a third of a litre, and warmth.", "18.50", 240),
    ("grinder-hand", "Hand grinder", "Forty clicks from espresso to French press.", "92.00", 35),
    ("scale-pocket", "Pocket scale", "A tenth of a gram, with a timer.", "39.90", 80),
    ("filter-linen", "Linen filter", "Washable; good for two hundred brews.", "9.80", 500),
    ("beans-yirgacheffe", "Yirgacheffe, 250 g", "Washed. Jasmine and lemon peel.", "14.20", 120),
    ("beans-huila", "Huila, 250 g", "Washed. Cocoa and red apple.", "12.90", 150),
    ("beans-sumatra", "Sumatra, 250 g", "Wet hulled. Cedar and dark honey.", "13.40", 90),
    ("dripper-glass", "Glass dripper", "One cup at a time, and you can watch.", "24.00", 110),
    ("server-glass", "Glass server", "Six hundred millilitres, marked.", "28.00", 95),
    ("tray-oak", "Oak tray", "Carries two mugs and a plate of biscuits.", "46.00", 30),
    ("spoon-cupping", "Cupping spoon", "Round, deep, and noisy if you like.", "11.00", 300),
    ("press-french", "French press", "Three cups, double wall.", "58.00", 45),
    ("jar-beans", "Bean jar", "Keeps air out with a wooden plunger.", "34.00", 60),
    ("towel-bar", "Bar towel", "Waffle cotton. Two of them.", "15.00", 200),
    ("thermometer", "Thermometer", "Reads in two seconds.", "21.50", 75),
    ("brush-grinder", "Grinder brush", "Beech and boar bristle.", "8.40", 180),
    ("notebook-brew", "Brewing notebook", "A page a cup, and a column for luck.", "7.90", 400),
    ("stool-counter", "Counter stool", "Sixty-five centimetres, ash.", "129.00", 12),
    ("lamp-counter", "Counter lamp", "A warm circle of light, and no more.", "88.00", 18),
    ("beans-decaf", "Decaf, 250 g", "By sugar cane. Toffee and orange.", "13.90", 85),
    ("syrup-vanilla", "Vanilla syrup", "Real pods in the bottle.", "10.60", 130),
    ("milk-jug", "Milk jug", "Sharp spout, for the ferns.", "26.00", 70),
    ("cups-espresso", "Espresso cups", "Four, thick-walled, white.", "32.00", 100),
)


def stock_shelves() -> int:
    """Add the catalogue to an empty shop; the number of products added."""
    if Product.objects.exists():
        return 0
    products = [
        Product(sku=sku, name=name, description=text, price=Decimal(price), stock=stock)
        for sku, name, text, price, stock in CATALOGUE
    ]
    return len(Product.objects.bulk_create(products))
