import BlockStorage
import IORuntime

/// What one session has had of one unit, since it logged in.
public struct TGTStatistics: Equatable, Sendable {
    public var target: Int32
    public var unit: UInt64
    public var session: UInt64
    public var readBytes: UInt64
    public var readCommands: UInt64
    public var writtenBytes: UInt64
    public var writeCommands: UInt64

    /// A table with a line of names:
    /// `tgt lun sid rd_subm(bytes,cmds) rd_done(bytes,cmds) wr_subm(bytes,cmds) wr_done(bytes,cmds) errs`.
    static func list(_ text: String) -> [TGTStatistics] {
        text.split(separator: "\n").compactMap { line in
            let numbers = line.split(separator: " ").map { UInt64($0) }
            guard numbers.count >= 11, let target = numbers[0].flatMap({ Int32(exactly: $0) }), let unit = numbers[1],
                let session = numbers[2], let readBytes = numbers[5], let readCommands = numbers[6],
                let writtenBytes = numbers[9], let writeCommands = numbers[10]
            else { return nil }
            return TGTStatistics(
                target: target, unit: unit, session: session, readBytes: readBytes, readCommands: readCommands,
                writtenBytes: writtenBytes, writeCommands: writeCommands)
        }
    }
}

extension TGTControl {
    /// What all sessions have had of all units.
    public func statistics() async throws(StorageError) -> [TGTStatistics] {
        TGTStatistics.list(try await perform(TGTRequest(.system, .statistics), "ask for statistics"))
    }

    /// The process that listens at the socket, if one does, though it may be stopped.
    public func process() async -> Int32? {
        let request = TGTRequest(.system, .show).bytes(text: "")
        guard let socket = try? await Self.connect(path, sending: request) else { return nil }
        defer { socket.close() }
        return socket.peerProcess
    }
}
