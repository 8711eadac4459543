import Testing

@testable import Templates

@Suite struct TemplateSourceTests {
    @Test("the ending of a name declares how a file is packed")
    func declaresCompression() {
        #expect(Compression(fileName: "a.qcow2.XZ") == .xz)
        #expect(Compression(fileName: "debian.raw.bz2") == .bzip2)
        #expect(Compression(fileName: "gz") == nil)
        #expect(Compression(fileName: "a.gz.raw") == nil)
    }
}
