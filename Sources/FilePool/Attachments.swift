import BlockStorage
import IORuntime

/// The volumes that this process has open for writing, so that a snapshot or a resize goes through the one that is.
final class Attachments: Sendable {
    private struct Attachment {
        weak var volume: (any ResizableVolume & AnyObject)?
    }

    private let open = Locked<[String: Attachment]>([:])

    func add(_ volume: any ResizableVolume & AnyObject, as name: String) {
        open.withLock { open in
            open = open.filter { $0.value.volume != nil }
            open[name] = Attachment(volume: volume)
        }
    }

    /// The open volume of that name. It may have been closed: it throws `notAttached` then.
    func volume(_ name: String) -> (any ResizableVolume & AnyObject)? {
        open.withLock { $0[name]?.volume }
    }
}
