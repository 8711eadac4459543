import BlockStorage

extension FileStore {
    /// What was declared of `name`; nil where nothing was.
    ///
    /// It is the target of a symbolic link with the file's name in the hidden directory: one that leads nowhere but is
    /// made, read and removed in one step each on any file system.
    func declaration(of name: String) async throws(StorageError) -> Declaration? {
        do throws(StorageError) {
            return Declaration(try await targetOfSymbolicLink(HiddenName.declaration(of: name)))
        } catch {
            // What is not a link declares nothing.
            if error.code == .notFound || error.code == .invalidArgument { return nil }
            throw error
        }
    }
}
