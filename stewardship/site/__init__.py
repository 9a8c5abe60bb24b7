"""The steward site: what the register, the privacy plan, the lineage and the registry say, as static pages for people.

``declared`` and ``living`` gather facts (:mod:`stewardship.site.facts`), ``pages`` and ``pictures`` turn them into
source pages in each language (:mod:`stewardship.site.words`), ``build`` into HTML, ``publish`` puts them into bucket
``docs``.
docs/decisions/0017 says why it is made like this.
"""
