import BlockStorage
import Foundation

/// The messages of the control socket: one JSON document a line, a request and then its reply.
///
/// Both ends bound what they take, because either may be any process of this user.
enum ControlMessage {
    /// The largest request or reply, in bytes, line break included.
    static let largestByteCount = 4 << 20
    /// Extents in one reply; at under 100 bytes each they fit well.
    static let extentsInReply = 8192

    /// What a client sends: the volume by name, so that a socket that was reused can refuse.
    struct Request: Codable, Equatable, Sendable {
        var volume: String
        var request: VolumeRequest
    }

    static func encode(_ message: some Encodable) throws(StorageError) -> [UInt8] {
        do {
            let data = try JSONEncoder().encode(message)
            guard data.count < largestByteCount else {
                throw StorageError(.outOfRange, "control message", why: "it has \(data.count) bytes")
            }
            return Array(data) + [UInt8(ascii: "\n")]
        } catch let error as StorageError {
            throw error
        } catch {
            throw StorageError(.internalError, "control message", why: "\(error)")
        }
    }

    static func decode<Message: Decodable>(_ type: Message.Type, _ line: [UInt8]) throws(StorageError) -> Message {
        do {
            return try JSONDecoder().decode(type, from: Data(line))
        } catch {
            throw StorageError(.invalidArgument, "control message", why: "it is not understood: other version?")
        }
    }
}

/// Collects bytes into lines of bounded length.
struct LineBuffer {
    private var bytes: [UInt8] = []
    /// Up to here there is no line break.
    private var searched = 0

    /// Adds what was received. Throws `invalidArgument` when a line has grown too long.
    mutating func append(_ received: some Collection<UInt8>) throws(StorageError) {
        guard bytes.count + received.count <= ControlMessage.largestByteCount else {
            throw StorageError(.invalidArgument, "control message", why: "it is too long")
        }
        bytes += received
    }

    /// The next whole line, without its break.
    mutating func next() -> [UInt8]? {
        guard let end = bytes[searched...].firstIndex(of: UInt8(ascii: "\n")) else {
            searched = bytes.count
            return nil
        }
        let line = Array(bytes[..<end])
        bytes.removeFirst(end + 1)
        searched = 0
        return line
    }
}
