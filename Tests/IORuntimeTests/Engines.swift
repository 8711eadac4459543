import Glibc
import IORuntime
import SystemPackage
import Testing

/// Both ways to reach the kernel; every test of files and sockets runs on each.
enum TestEngine: CaseIterable, CustomTestStringConvertible {
    case ring, threadPool
    /// With the reads that the page cache can answer done at once.
    case inline
    case noExecutor

    private static let ringGroup = IOExecutorGroup(count: 2, engine: .ring, readsInline: false)
    private static let threadGroup = IOExecutorGroup(count: 2, engine: .threadPool, readsInline: false)
    private static let inlineGroup = IOExecutorGroup(count: 2)

    var testDescription: String { "\(self)" }

    /// Runs `body` on an executor of this engine, or on none: then requests hop to the shared executors.
    func run<Result: Sendable>(_ body: @Sendable @escaping () async throws -> Result) async throws -> Result {
        switch self {
        case .ring:
            #expect(Self.ringGroup.executors[0].engineKind == .ring)
            return try await Self.ringGroup.run(body)
        case .threadPool:
            #expect(Self.threadGroup.executors[0].engineKind == .threadPool)
            return try await Self.threadGroup.run(body)
        case .inline:
            return try await Self.inlineGroup.run(body)
        case .noExecutor:
            return try await body()
        }
    }
}

/// A directory of its own for each test, removed at the end.
final class TemporaryDirectory: Sendable {
    let path: FilePath

    init() throws {
        var template = Array("/tmp/sluice-test-XXXXXX".utf8CString)
        let made = unsafe template.withUnsafeMutableBufferPointer { unsafe $0.baseAddress.map { unsafe mkdtemp($0) } }
        guard unsafe made != nil else { throw SystemError(.ioError, "mkdtemp") }
        path = FilePath(String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }

    deinit { Self.remove(path.string) }

    func callAsFunction(_ name: String) -> FilePath { path.appending(name) }

    private static func remove(_ path: String) {
        if let directory = unsafe opendir(path) {
            while let entry = unsafe readdir(directory) {
                let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                    unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
                }
                if name != "." && name != ".." { remove(path + "/" + name) }
            }
            unsafe closedir(directory)
            unsafe rmdir(path)
        } else {
            unsafe unlink(path)
        }
    }
}

/// A reproducible sequence (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}
