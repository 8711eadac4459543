import BlockStorage
import Foundation
import SystemPackage
import Testing

@testable import Sluice

@Suite struct SecretTests {
    private let text = "AQBSdFhcu7Y0BBAA"

    @Test("A secret prints as <redacted>, however it is printed")
    func redaction() {
        let secret = Secret(text)
        var dumped = ""
        dump(["secret": secret], to: &dumped)
        for output in ["\(secret)", String(reflecting: secret), "\([secret])", dumped, "\(Optional(secret) as Any)"] {
            #expect(!output.contains(text))
            #expect(output.contains("<redacted>"))
        }
        #expect(secret.reveal { $0 } == text)
    }

    @Test("A secret file loses its last line break and nothing else")
    func file() throws {
        let directory = try TemporaryDirectory()
        let path = directory.appending("secret")
        try write(" \(text)=\n", to: path, mode: 0o600)
        #expect(try Secret.read(file: FilePath(path)) == Secret(" \(text)="))
    }

    @Test("A secret file that others can read, or that holds no secret, is refused")
    func badFiles() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.appending("secret")
        try write(text, to: path, mode: 0o640)
        await expect(.permissionDenied) { try Secret.read(file: FilePath(path)) }
        try write("\n", to: path, mode: 0o600)
        await expect(.invalidArgument) { try Secret.read(file: FilePath(path)) }
        try write(String(repeating: "x", count: Secret.largestByteCount + 1), to: path, mode: 0o600)
        await expect(.invalidArgument) { try Secret.read(file: FilePath(path)) }
        await expect(.invalidArgument) { try Secret.read(file: "/dev/zero") }
        await expect(.notFound) { try Secret.read(file: FilePath(directory.appending("none"))) }
    }

    @Test("The store keeps each secret in a file of mode 0600 under a name that says nothing")
    func store() async throws {
        let directory = try TemporaryDirectory()
        let store = SecretStore(directory: FilePath(directory.appending("secrets")))
        let name = try store.store(Secret(text))
        #expect(try mode(of: directory.appending("secrets")) == 0o700)
        #expect(try mode(of: directory.appending("secrets/\(name)")) == 0o600)
        #expect(try store.load(name) == Secret(text))
        store.remove(name)
        store.remove(name)
        await expect(.notFound) { try store.load(name) }
    }

    private func write(_ text: String, to path: String, mode: Int) throws {
        try Data(text.utf8).write(to: URL(filePath: path))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    }
}
