import BlockStorage
import IORuntime

extension TemplateImport {
    /// Imports a raw disk that is read once, from beginning to end: its bytes go straight into the pool while they
    /// come, and become a template only when all of them were checked. Nil when another import of that name was faster.
    func importStream(
        _ input: any TemplateInput, _ compression: Compression?, _ pool: any StoragePool
    ) async throws(StorageError) -> ImportedTemplate? {
        let stream = try SourceStream(input, name: source.name, adding: checksums(input).map(\.algorithm))
        let disk = DiskStream(
            try Unpacker(stream, compression, limits: limits), stream,
            digester: verifies ? try Digester(.sha256) : nil)
        if let size = compression == nil ? input.byteCount : nil {
            try GuestImage.check(size: size, limits)
            try GuestImage.checkSectors(size: size)
        }
        guard let first = try await disk.next() else {
            throw StorageError(.corrupt, "import template", at: source.name, why: "there is nothing in it")
        }
        // What is no raw disk is refused before the rest of it is fetched.
        try GuestImage.checkRaw(disk.signatures)
        if let existing = try await existingTemplate(in: pool) {
            return try await compare(disk, first, with: existing, input, pool)
        }
        let size = compression == nil ? input.byteCount : nil
        let staged = try await pool.stageTemplate(name, size: size ?? ImageWriter.firstSize)
        // Does nothing once the template is published.
        return try await finally({ await staged.discard() }) { () async throws(StorageError) in
            try await write(disk, first, to: staged.volume, input)
            let record = try await check(disk, input)
            if let digester = disk.digester { try await verify(staged.volume, digester) }
            do throws(StorageError) {
                return ImportedTemplate(template: try await publish(staged, record), record: record, wasThere: false)
            } catch {
                guard error.code == .alreadyExists, try await existingTemplate(in: pool) != nil else { throw error }
                return nil
            }
        }
    }

    private func write(
        _ disk: DiskStream, _ first: UnpackedChunk, to volume: any ResizableVolume, _ input: any TemplateInput
    ) async throws(StorageError) {
        let writer = ImageWriter(volume)
        do throws(StorageError) {
            var chunk: UnpackedChunk? = first
            while let next = chunk {
                try await writer.write(next)
                report(input.isRemote ? .downloading : .unpacking, disk.source.bytesRead, of: input.byteCount)
                chunk = try await disk.next()
            }
            try GuestImage.checkSectors(size: disk.size)
            try await writer.finish(size: disk.size)
            report(.copying, disk.size, of: disk.size)
        } catch {
            await writer.stop()
            throw error
        }
        try await volume.flush()
    }

    /// Checks what can be known only at the end; the result is what to remember.
    private func check(_ disk: DiskStream, _ input: any TemplateInput) async throws(StorageError) -> TemplateRecord {
        try GuestImage.check(size: disk.size, limits)
        try GuestImage.checkSectors(size: disk.size)
        try GuestImage.checkRaw(disk.signatures)
        try compare(try disk.source.checksums(), input)
        try await input.checkUnchanged()
        return record(input, sourceSize: disk.source.bytesRead, virtualSize: disk.size)
    }

    private func compare(
        _ disk: DiskStream, _ first: UnpackedChunk, with existing: VolumeDescription, _ input: any TemplateInput,
        _ pool: any StoragePool
    ) async throws(StorageError) -> ImportedTemplate {
        let template = try await pool.openVolume(VolumeReference(name), mode: .readOnly)
        return try await finally({ try? await template.close() }) { () async throws(StorageError) in
            var chunk: UnpackedChunk? = first
            while let next = chunk {
                guard next.end <= existing.virtualSize else { throw taken(by: "another template", in: pool) }
                var buffer = IOBuffer(byteCount: next.bytes.byteCount)
                var bytes = buffer.mutableBytes
                try await template.read(into: &bytes, at: next.offset)
                guard buffer.bytes.hasSameBytes(as: next.bytes) else { throw taken(by: "another template", in: pool) }
                report(.verifying, disk.source.bytesRead, of: input.byteCount)
                chunk = try await disk.next()
            }
            let record = try await check(disk, input)
            guard disk.size == existing.virtualSize else { throw taken(by: "another template", in: pool) }
            return ImportedTemplate(template: existing, record: record, wasThere: true)
        }
    }

    /// Reads all of the volume again, and compares what it adds up to.
    private func verify(_ volume: any Volume, _ written: Digester) async throws(StorageError) {
        let digester = try Digester(.sha256)
        let size = volume.geometry.size
        var offset: UInt64 = 0
        while offset < size {
            if Task.isCancelled { throw StorageError(.cancelled, "import template", at: source.name) }
            var buffer = IOBuffer(byteCount: Int(min(1 << 20, size - offset)))
            var bytes = buffer.mutableBytes
            try await volume.read(into: &bytes, at: offset)
            try digester.add(buffer.bytes)
            offset += UInt64(buffer.byteCount)
            report(.verifying, offset, of: size)
        }
        guard try digester.finish() == written.finish() else {
            throw StorageError(
                .corrupt, "verify copy", at: volume.stack, why: "it is not what \(source.name) holds")
        }
    }
}

/// A raw disk on its way: remembers its ends, by which it could be taken for something else.
///
/// Not safe for concurrent calls.
private final class DiskStream: @unchecked Sendable {
    let source: SourceStream
    /// Adds up the disk, where it is to be verified.
    let digester: Digester?
    private let unpacker: Unpacker
    private var head: [UInt8] = []
    private var footer: [UInt8] = []

    init(_ unpacker: Unpacker, _ source: SourceStream, digester: Digester?) {
        (self.unpacker, self.source, self.digester) = (unpacker, source, digester)
    }

    /// Bytes so far; of all of it once `next` gave nil.
    var size: UInt64 { unpacker.size }

    /// What the disk could be taken for, as far as it is known.
    var signatures: Set<ImageSignature> { ImageSignature.all(head: head, footer: footer) }

    func next() async throws(StorageError) -> UnpackedChunk? {
        guard let chunk = try await unpacker.next() else { return nil }
        let bytes = chunk.bytes
        if chunk.offset == 0 { head = bytes.extracting(first: Int(ImageSignature.headSize)).array }
        footer = (footer + bytes.extracting(last: Int(ImageSignature.footerSize)).array)
            .suffix(Int(ImageSignature.footerSize))
        try digester?.add(bytes)
        return chunk
    }
}
