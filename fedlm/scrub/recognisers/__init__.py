"""Recognisers of personal data, one per file. A new file here is used and tested; nothing else has to know it.

Each file has
  `build()`: returns a Presidio `EntityRecognizer` whose entities are names of `fedlm.scrub.kinds.KIND_OF_ENTITY`.
  `RUNS_MODEL`: whether it runs a model; the profile `patterns` leaves such recognisers out. A recogniser that is faster
    over several texts also has `analyze_all(texts)`.
  `HITS`: pairs of a text and what must be found in it. `NEAR_MISSES`: texts in which nothing may be found.

`tests/scrub/test_recognisers.py` checks every file.
"""
