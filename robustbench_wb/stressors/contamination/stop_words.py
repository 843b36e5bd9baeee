"""English stop words, which word swaps leave alone, as in the papers' protocol."""

_LIST = """
a an the this that these those some any each every both either neither all few more most other another such own same
i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers
herself it its itself they them their theirs themselves one who whom whose which what
am is are was were be been being have has had having do does did doing will would shall should can could may might
must ought
and or but nor so yet if because as until while although though unless whether than then
of at by for with about against between among into through during before after above below to from up down in out on
off over under upon within without toward towards across along behind beside beyond since
again further once here there when where why how not no only just too very now also ever never
s t d ll m re ve don doesn didn isn aren wasn weren hasn haven hadn won wouldn shan shouldn couldn mustn needn
mightn ain
"""
STOP_WORDS = frozenset(_LIST.split())
"""Lower-case stop words. A word is a run of letters, so the list contains the halves of *don't*."""
