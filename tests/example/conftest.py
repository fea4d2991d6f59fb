"""The example's modules lie in a folder whose name has a dash: they are imported as its scripts import each other."""

import sys

from support.files import ROOT

EXAMPLE = ROOT / "examples" / "order-fulfilment"

sys.path.insert(0, str(EXAMPLE))
