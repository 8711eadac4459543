import BlockStorage
import Foundation
import IORuntime
import Logging
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

/// Collects what is logged, at every level.
private struct LogCollector: LogHandler {
    let lines: @Sendable (String) -> Void
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        lines("\(event.level) \(event.message) \(metadata) \(event.metadata ?? [:]) \(event.source)")
    }
}

extension SecretTests {
    @Test("The secret of a pool that is used is in the secret store, and in no log, error, metric, file or output")
    func stored() async throws {
        let site = try TestSite()
        let secret = "AQB+Sd/Fhcu7Y0BBAA=="
        let seen = Locked("")
        let note: @Sendable (String) -> Void = { text in seen.withLock { $0 += text + "\n" } }
        let driver = PoolDriver(scheme: "vault") { configuration throws(StorageError) in
            let isRight = configuration.secret?.reveal { $0 == secret } ?? false
            // A driver's author may well put all that he has into an error.
            guard isRight else { throw StorageError(.authenticationFailed, "open pool", why: "\(configuration)") }
            return OpenedPool(site.storage)
        }
        let metrics = PrometheusMetrics()
        let host = try await StorageHost.open(
            home: site.home, drivers: [driver],
            logger: Logger(label: "sluice") { _ in LogCollector(lines: note) }, metrics: metrics)
        func noting<Result>(_ body: () async throws -> Result) async {
            do { note("\(try await body())") } catch { note("\(error) \(String(reflecting: error))") }
        }
        let encoded = "AQB%2BSd%2FFhcu7Y0BBAA%3D%3D"
        let registration = PoolRegistration(name: "fast", url: "vault://admin:\(encoded)@mon/fast")
        await noting { try await host.addPool(PoolRegistration(name: "bad", url: "vault://a:\(secret)x@mon/fast")) }
        await noting { try await host.addPool(PoolRegistration(name: "bad", url: "vault://a:\(encoded)x@mon/fast")) }
        await noting { try await host.addPool(registration) }
        await noting { try await host.addPool(PoolRegistration(name: "fast", url: registration.url + "?x=1")) }
        await noting { try await host.createVolume(fast("v"), .init(raw: 1 << 20)) }
        await noting { try await host.attach(fast("v")) }
        await noting { try await host.createSnapshot("s", of: fast("v")) }
        await noting { try await host.runningAttachments() }
        await noting { try await host.hypervisorDisk(fast("v")) }
        await noting { try await host.detach(fast("v")) }
        await noting { try await host.volumeDetails(fast("v")) }
        await noting { try await host.poolDetails("fast") }
        await noting { try await host.listPools() }
        note(metrics.text())
        let text = seen.withLock { $0 }
        #expect(text.contains("attached") && text.contains("authenticationFailed"))
        let forms = [secret, encoded, Data(secret.utf8).base64EncodedString(), String(secret.prefix(12))]
        for form in forms { #expect(!text.contains(form), "\(form)") }
        for path in try FileManager.default.subpathsOfDirectory(atPath: site.home) {
            guard let content = FileManager.default.contents(atPath: "\(site.home)/\(path)") else { continue }
            let holds = forms.contains { content.range(of: Data($0.utf8)) != nil }
            #expect(holds == path.hasPrefix("secrets/"), "\(path)")
        }
    }
}
