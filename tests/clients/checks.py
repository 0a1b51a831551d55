"""What the checks of the clients have in common.

Each script is one client. It says which user sees what, by features; for each it prints `ok FEATURE`, or what went
wrong. The server is that of `weir demo`: tara sees purchases of two departments, nora none, oona all eight.
"""

import os
import sys
import traceback

HOST, PORT, DATABASE, PASSWORD = "127.0.0.1", int(os.environ["WEIR_PORT"]), "weir", "demo"
# Who sees what of retail.customer_purchases.
DEPARTMENTS = {
    "tara": ["Home Goods", "Toys"],
    "oona": ["Books", "Clothing", "Electronics", "Garden", "Grocery", "Home Goods", "Sports", "Toys"],
}
COLUMNS = ["id", "first_name", "last_name", "age", "country", "ssn", "product_id", "department", "purchase_date"]
UNSEEN, MISSING = "retail.customer_purchases", "retail.customer_purchazes"

_features = []


def feature(name):
    def register(check):
        _features.append((name, check))
        return check

    return register


def uri(user, scheme="postgresql"):
    return f"{scheme}://{user}:{PASSWORD}@{HOST}:{PORT}/{DATABASE}"


def equal(got, expected):
    assert got == expected, f"got {got!r}, expected {expected!r}"


def contains(text, part):
    assert part in text, f"{part!r} is not in {text!r}"


def lacks(text, part):
    assert part not in text, f"{part!r} is in {text!r}"


def main():
    failed = 0
    for name, check in _features:
        try:
            check()
            print(f"ok {name}", flush=True)
        except BaseException:
            failed += 1
            print(f"failed {name}\n{traceback.format_exc()}", flush=True)
    sys.exit(1 if failed else 0)
