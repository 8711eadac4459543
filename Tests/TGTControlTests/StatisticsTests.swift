import Testing

@testable import TGTControl

@Suite("tgtd's statistics")
struct StatisticsTests {
    @Test("Each line is a session's use of a unit; what is no line of the table is left out")
    func table() {
        let text = """
            tgt lun sid rd_subm(bytes,cmds) rd_done(bytes,cmds) wr_subm(bytes,cmds) wr_done(bytes,cmds) errs
              2   0   2            0      0            0      0            0      0            0      0    0
              2   1   3          749      9          748      8        65537      2        65536      1    1
              2   1   4          749      9
             -1   1   4          749      9          748      8        65537      2        65536      1    1
            """
        #expect(
            TGTStatistics.list(text) == [
                TGTStatistics(
                    target: 2, unit: 0, session: 2, readBytes: 0, readCommands: 0, writtenBytes: 0, writeCommands: 0),
                TGTStatistics(
                    target: 2, unit: 1, session: 3, readBytes: 748, readCommands: 8, writtenBytes: 65536,
                    writeCommands: 1),
            ])
    }
}
