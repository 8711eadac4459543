import BlockStorage
import SystemPackage
import Testing

@testable import Templates

@Suite struct TemplateSourceTests {
    @Test(
        "paths and file URLs name files",
        arguments: [
            ("/images/debian.qcow2", "/images/debian.qcow2"), ("debian.raw", "debian.raw"),
            ("images:old/debian", "images:old/debian"), ("./file:x", "./file:x"), ("C:x", "C:x"),
            ("file:/images/a%20b.gz", "/images/a b.gz"), ("file:///images/a", "/images/a"),
            ("FILE://localhost/images/%C3%A4", "/images/ä"), ("", ""),
        ])
    func parses(text: String, path: String) throws {
        let source: FileTemplateSource = try .named(text)
        #expect(source.path == FilePath(path))
    }

    @Test(
        "other URLs are refused, and not repeated",
        arguments: [
            ("http://user:secret@host/x", StorageError.Code.notSupported), ("nfs://host/x", .notSupported),
            ("file://other/x", .invalidArgument), ("file:relative", .invalidArgument),
            ("file:///a%2", .invalidArgument),
            ("file:///a%zz", .invalidArgument), ("file:///a%00b", .invalidArgument), ("file:///%ff", .invalidArgument),
            ("file:", .invalidArgument), ("file:///+%+1", .invalidArgument),
        ])
    func refuses(text: String, code: StorageError.Code) {
        let error = #expect(throws: StorageError.self) { let _: FileTemplateSource = try .named(text) }
        #expect(error?.code == code)
        #expect(error.map { "\($0)".contains("secret") } == false)
    }

    @Test("the ending of a name declares how a file is packed")
    func declaresCompression() {
        #expect(Compression(fileName: "a.qcow2.XZ") == .xz)
        #expect(Compression(fileName: "debian.raw.bz2") == .bzip2)
        #expect(Compression(fileName: "gz") == nil)
        #expect(Compression(fileName: "a.gz.raw") == nil)
    }
}
