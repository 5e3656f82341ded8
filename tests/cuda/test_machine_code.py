"""What is read from listings of machine code."""

from __future__ import annotations

from collections import Counter

from machine_code import MachineCode, _read

LISTING = """
.text.kernel:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/                   LDG.E.128.CONSTANT R4, desc[UR4][R2.64] ;
        /*0020*/              @!P0 LDG.E R8, desc[UR4][R2.64+0x10] ;
.L_x_0:
        /*0030*/                   FFMA R9, R4, R5, R9 ;
        /*0040*/                   FFMA R9, R6, R7, R9 ;
        /*0050*/               @P1 BRA `(.L_x_0) ;
        /*0060*/              @!P2 BRA `(.L_x_1) ;
        /*0070*/                   F2F.F64.F32 R10, R9 ;
        /*0080*/                   STG.E.U16 desc[UR4][R2.64], R9 ;
        /*0090*/                   EXIT ;
.L_x_2:
        /*00a0*/                   BRA `(.L_x_2);
"""


def test_a_listing_by_hand():
    code = MachineCode(10, 0, *_read(LISTING))
    assert len(code.opcodes) == 11
    assert code.loops == (
        ("FFMA", "FFMA", "BRA"),
        ("LDG.E.128.CONSTANT", "LDG.E", "FFMA", "FFMA", "BRA", "BRA"),
    )
    assert code.main_loop == ("FFMA", "FFMA", "BRA")
    assert code.share("FFMA") == 2 / 3
    assert code.widths("LDG") == Counter({128: 1, 32: 1})
    assert code.widths("STG") == Counter({16: 1})
    assert (code.doubles, code.local_accesses) == (1, 0)
