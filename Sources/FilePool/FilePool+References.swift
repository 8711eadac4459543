import BlockStorage
import IORuntime

extension FilePool {
    /// The file of this pool that the backing (or data) file name in an image means.
    ///
    /// Throws `unsafeImage` for every name that is not plainly a file in this directory: a protocol, options in JSON,
    /// another directory, the pool's hidden files.
    func backingName(_ backing: String, of image: String) async throws(StorageError) -> String {
        func refusal(_ why: String) -> StorageError {
            failure(.unsafeImage, "open backing file", image, "its backing file '\(backing)' \(why)")
        }
        let path = backing.split(separator: "/", omittingEmptySubsequences: false)
        guard let first = path.first, let last = path.last, !first.contains(":") else {
            throw refusal("names a protocol or options, not a file")
        }
        if backing.hasPrefix("/") {
            let parent = path.dropLast().joined(separator: "/")
            let root = try await store.status(of: "", followsLinks: false)
            let directory = try? await store.status(of: parent.isEmpty ? "/" : parent, followsLinks: true)
            guard let directory, directory.device == root.device, directory.inode == root.inode else {
                throw refusal("is not in the pool")
            }
        } else {
            guard path.dropLast().allSatisfy({ $0 == "." || $0.isEmpty }) else { throw refusal("is not in the pool") }
        }
        let name = String(last)
        guard !name.isEmpty, name != ".", name != "..", name != HiddenName.directory,
            !name.hasPrefix(HiddenName.stagingPrefix), !name.utf8.contains(0)
        else { throw refusal("is not a file of the pool") }
        return name
    }

    /// The names of the images in the pool that read through `target`, whoever made them, sorted.
    ///
    /// Images are asked, not records: each file that nobody declared to be raw. Names are compared as files, so that
    /// relative and absolute names and symbolic links all count; where that cannot be done, the same last component
    /// counts too, because a reference too many only keeps a file.
    func references(to target: PoolFile) async throws(StorageError) -> [String] {
        var names: [String] = []
        let files = try await files(unnameable: true)
        let statuses = Dictionary(files.map { ($0.name, $0.status) }) { first, _ in first }
        let candidates = files.filter { $0.name != target.name && $0.declaration?.format != .raw }
        await readFacts(of: candidates)
        for file in candidates {
            let facts: ImageFacts
            do throws(StorageError) {
                facts = try await self.facts(of: file)
            } catch {
                // Gone since it was listed.
                if error.code == .notFound { continue }
                throw error
            }
            for reference in [facts.backingFile, facts.dataFile] {
                guard let reference, try await refers(reference, to: target, among: statuses) else { continue }
                names.append(file.name)
                break
            }
        }
        return names.sorted()
    }

    private func refers(
        _ reference: String, to target: PoolFile, among files: [String: FileStatus]
    ) async throws(StorageError) -> Bool {
        if reference.hasPrefix("json:") { return reference.contains(target.name) }
        let path = reference.hasPrefix("file:") ? String(reference.dropFirst("file:".count)) : reference
        var status = files[path]
        if status == nil { status = try? await store.status(of: path, followsLinks: true) }
        if let status { return status.device == target.status.device && status.inode == target.status.inode }
        return path.split(separator: "/").last.map(String.init) == target.name
    }

    /// Throws `busy`, naming them, when images read through `file`.
    func checkUnreferenced(_ file: PoolFile, _ what: String) async throws(StorageError) {
        let clones = try await references(to: file)
        if clones.isEmpty { return }
        let some = clones.prefix(20).joined(separator: ", ")
        let rest = clones.count > 20 ? " and \(clones.count - 20) more" : ""
        throw failure(.busy, what, file.name, "other volumes read through it: \(some)\(rest)")
    }
}
