import BlockStorage
import IORuntime
import SystemPackage

extension File {
    /// Opens a file that may be a disk image, to read. Throws `busy` while a program has it open for writing, and keeps
    /// those that respect QEMU's locks from doing so until the file is closed.
    static func openImage(
        _ path: FilePath, as what: String, blocking: BlockingPool = .shared
    ) async throws(StorageError) -> File {
        let file: File
        do throws(SystemError) {
            file = try await File.open(path, blocking: blocking)
        } catch {
            throw StorageError(error, what, at: path.string)
        }
        do throws(StorageError) {
            guard try await ImageLock.acquire(.reading, on: file) else {
                throw StorageError(.busy, what, at: path.string, why: "another program has it open for writing")
            }
        } catch {
            try? await file.close()
            throw error
        }
        return file
    }
}
