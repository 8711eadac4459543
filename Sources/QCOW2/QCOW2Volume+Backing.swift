import BlockStorage
import IORuntime

extension QCOW2Volume {
    /// Lets go of the backing file for good, in one durable step: from the next opening on, what the image does not
    /// hold itself reads as zeros. This open volume goes on as before, and should be closed.
    ///
    /// The caller has copied what is still needed. Snapshots lose what they read through the backing file: throws
    /// `busy` while the image has any.
    public func detachBacking() async throws(StorageError) {
        try checkWritable()
        try await exclusively { () async throws(StorageError) in
            try await settle()
            guard state.withLock({ $0.snapshots.isEmpty }) else {
                throw StorageError(
                    .busy, "detach backing file", at: base.stack,
                    why: "snapshots of the image read through it too: delete them first")
            }
            try await commitHeader { $0.backingFile = nil }
        }
    }
}
