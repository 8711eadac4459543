#if ISCSI
    import BlockStorage
    import Foundation
    import Testing

    @testable import ElementAPI

    @Suite struct SecretTests {
        private static let password = "s3cr3t-of-the-array"
        private static let initiatorSecret = "chap-of-host1"
        private static let targetSecret = "chap-of-array"

        private static func isClean(_ text: String) -> Bool {
            ![password, initiatorSecret, targetSecret, Data("admin:\(password)".utf8).base64EncodedString()]
                .contains(where: text.contains)
        }

        @Test("secrets are sent, and read, and printed nowhere")
        func account() async throws {
            let array = try await ScriptedArray { call in
                switch call.method {
                case "AddAccount": .result("{\"accountID\": 4}")
                case "GetAccountByID", "GetAccountByName":
                    .result(
                        "{\"account\": \(Example.account(4, name: "pool", secrets: (Self.initiatorSecret, Self.targetSecret)))}"
                    )
                case "ModifyAccount": .result("{}")
                case "RemoveAccount": .refusal("xAccountIDDoesNotExist")
                default: nil
                }
            }
            let client = try array.client()
            let account = try await client.addAccount(
                named: "pool", initiatorSecret: Secret(Self.initiatorSecret), targetSecret: Secret(Self.targetSecret))
            #expect(account.initiatorSecret == Secret(Self.initiatorSecret) && account.volumeIDs == [1, 2])
            #expect(try await client.account(named: "pool") == account)
            try await client.modifyAccount(4, initiatorSecret: Secret(Self.initiatorSecret))
            try await client.removeAccount(4)
            #expect(array.calls[0].text("initiatorSecret") == Self.initiatorSecret)
            #expect(array.calls[0].text("targetSecret") == Self.targetSecret)
            var dumped = ""
            dump(account, to: &dumped)
            dump(client, to: &dumped)
            dump(client.endpoint, to: &dumped)
            dump(ElementParameter.secret(Secret(Self.initiatorSecret)), to: &dumped)
            #expect(Self.isClean(dumped + "\(account) \(client.endpoint) \(String(reflecting: client))"))
            try await array.close()
        }

        @Test("an array that repeats a secret in what it says does not make this print it")
        func repeated() async throws {
            let array = try await ScriptedArray { call in
                call.method == "GetAPI"
                    ? nil
                    : .refusal(
                        "xInvalidParameter",
                        "\(Self.initiatorSecret) is too long; so is \(Self.targetSecret); admin:\(Self.password)")
            }
            let client = try array.client()
            let error = await #expect(throws: StorageError.self) {
                _ = try await client.addAccount(
                    named: "pool", initiatorSecret: Secret(Self.initiatorSecret),
                    targetSecret: Secret(Self.targetSecret))
            }
            #expect(error?.why.contains("<redacted>") == true && Self.isClean("\(error as Any)"))
            try await array.close()
        }

        @Test("an account that another host made first is taken, and only the one that was asked for")
        func otherAccount() async throws {
            let array = try await ScriptedArray { call in
                switch call.method {
                case "AddAccount": .refusal("xDuplicateUsername")
                case "GetAccountByName": .result("{\"account\": \(Example.account(4, name: "other"))}")
                default: nil
                }
            }
            let client = try array.client()
            let taken = await #expect(throws: StorageError.self) { _ = try await client.addAccount(named: "pool") }
            #expect(taken?.code == .alreadyExists)
            let other = await #expect(throws: StorageError.self) { _ = try await client.account(named: "pool") }
            #expect(other?.code == .inputOutput)
            try await array.close()
        }
    }
#endif
